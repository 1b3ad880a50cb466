"""A recorder at work: three series of a simulated exchange whose minutes pass in seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from candles import START
from chandlery.domain.candle import same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs, timeframe
from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.settings import OkxSettings
from chandlery.exchange.okx.stream import OkxStream
from chandlery.exchange.okx.stream_settings import StreamSettings
from chandlery.exchange.pacing import RateLimit
from chandlery.services.live.recorder import LiveWanted, Recorder
from chandlery.services.outputs import PostgresOutput
from chandlery.simulator import RunningClock, SeededMarket, Simulator
from chandlery.simulator.bars import utc_bar
from chandlery.storage.postgres import PostgreSQLStorage

SYMBOLS = ["BTC-USDT", "ETH-USDT", "DOGE-USDT-SWAP"]
SPEED = 60.0
"""A minute a second."""
GRACE_S = 30.0
"""Simulated, so half a second."""


def simulator() -> Simulator:
    return Simulator(SeededMarket(5, SYMBOLS), clock=RunningClock(START, SPEED))


def reach(exchange: Simulator) -> OkxSettings:
    plain = OkxSettings(base_url=exchange.base_url, clock_age_s=0.02)
    return replace(plain, limits=dict.fromkeys(plain.limits, RateLimit(requests=2_000, window_s=1.0)))


def series(symbol: str, interval: str = "1m") -> Series:
    return Series("okx-simulated", symbol, timeframe(interval))


async def record(
    exchange: Simulator,
    storage: PostgreSQLStorage,
    until: Callable[[Recorder], bool],
    *,
    timeframes: str = "1m",
    since: UtcMs | None = None,
    most_waiting: int = 1_000,
) -> Recorder:
    """Record until the condition holds, or fail."""
    settings = reach(exchange)
    quick = StreamSettings(ping_after_s=0.3, pong_within_s=0.3, connects=RateLimit(requests=100, window_s=1.0))
    async with OkxSource(settings) as source:
        recorder = Recorder(
            source,
            lambda wanted: OkxStream(wanted, settings, stream=quick),
            PostgresOutput(storage),
            grace_s=GRACE_S,
            most_waiting=most_waiting,
        )
        wanted = LiveWanted(
            symbols=SYMBOLS, timeframes=[timeframe(name) for name in timeframes.split(",")], since=since
        )
        running = asyncio.create_task(recorder.run(wanted))
        try:
            async with asyncio.timeout(30):
                while not running.done() and not until(recorder):  # noqa: ASYNC110 - many things lead to it
                    await asyncio.sleep(0.02)
        finally:
            recorder.stop()
            await running
    return recorder


def known_until(end: UtcMs) -> Callable[[Recorder], bool]:
    """Whether nothing that closed before ``end`` is missing any more."""

    def reached(recorder: Recorder) -> bool:
        progress = recorder.progress
        return progress.now >= end and not any(tail.missing(end) for tail in progress.tails.values())

    return reached


def assert_stored(exchange: Simulator, storage: PostgreSQLStorage, of: Series, span: Span) -> None:
    market = exchange.market.newest(of.symbol, utc_bar(of.timeframe), span, 2**31)
    stored = storage.reader.candles(of, span)
    assert stored.open_time.tolist() == market.open_time.tolist()
    assert same_values(stored, market).all()
    assert Spans([span]) - storage.ledger.covered(of) == Spans()
