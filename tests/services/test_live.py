"""Whatever a stream does wrong, every candle that closed is stored, once, and readers get them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from candles import START
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import HOUR_MS, MINUTE_MS, UtcMs, timeframe
from chandlery.errors import DataNotFoundError
from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.settings import OkxSettings
from chandlery.exchange.okx.stream import OkxStream
from chandlery.exchange.okx.stream_settings import StreamSettings
from chandlery.exchange.pacing import RateLimit
from chandlery.services.live.iterate import LiveCandle, live
from chandlery.services.live.recorder import LiveWanted, Recorder
from chandlery.services.outputs import PostgresOutput
from chandlery.settings import load_settings
from chandlery.simulator import RunningClock, SeededMarket, Simulator, StreamFaultKind
from chandlery.simulator.bars import utc_bar
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery

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
) -> Recorder:
    """Record until the condition holds, or fail."""
    settings = reach(exchange)
    quick = StreamSettings(ping_after_s=0.3, pong_within_s=0.3, connects=RateLimit(requests=100, window_s=1.0))
    async with OkxSource(settings) as source:
        recorder = Recorder(
            source, lambda wanted: OkxStream(wanted, settings, stream=quick), PostgresOutput(storage), grace_s=GRACE_S
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


@pytest.mark.parametrize("kind", [None, *StreamFaultKind], ids=lambda kind: kind or "no fault")
def test_no_fault_of_the_stream_leaves_a_gap(storage: PostgreSQLStorage, kind: StreamFaultKind | None) -> None:
    end = START + 4 * MINUTE_MS
    with simulator().run_in_thread() as exchange:
        if kind is not None:
            exchange.arm_stream(kind, count=2)
        recorder = asyncio.run(record(exchange, storage, known_until(end), since=START))
        for symbol in SYMBOLS:
            assert_stored(exchange, storage, series(symbol), Span(START, end))
    assert not recorder.progress.result.revised
    assert not recorder.progress.result.rejected


def test_coarser_candles_close_beside_the_finer_ones(storage: PostgreSQLStorage) -> None:
    end = START + 5 * MINUTE_MS
    with simulator().run_in_thread() as exchange:
        asyncio.run(record(exchange, storage, known_until(end), timeframes="1m,5m", since=START))
        for symbol in SYMBOLS:
            assert_stored(exchange, storage, series(symbol, "5m"), Span(START, end))


def test_holes_that_a_killed_stream_left_are_healed_at_the_start(storage: PostgreSQLStorage) -> None:
    end = START + MINUTE_MS
    day = Span(START - 3 * HOUR_MS, START)
    with simulator().run_in_thread() as exchange:
        for symbol in SYMBOLS:
            rows = exchange.market.newest(symbol, utc_bar(timeframe("1m")), day, 2**31)
            left = rows.take((rows.open_time < START - 2 * HOUR_MS) | (rows.open_time > START - HOUR_MS))
            save(storage, symbol, left.columns())

        asyncio.run(record(exchange, storage, known_until(end)))

        for symbol in SYMBOLS:
            assert_stored(exchange, storage, series(symbol), Span(day.start, end))


def save(storage: PostgreSQLStorage, symbol: str, columns: dict[str, Any]) -> None:
    batch = CandleBatch.of(series(symbol), columns)
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])


def test_a_symbol_that_is_not_listed_is_an_error_with_near_ones(storage: PostgreSQLStorage) -> None:
    async def run(exchange: Simulator) -> None:
        async with OkxSource(reach(exchange)) as source:
            recorder = Recorder(source, lambda _: pytest.fail("no stream"), PostgresOutput(storage), grace_s=GRACE_S)
            await recorder.run(LiveWanted(symbols=["BTC-USDR"], timeframes=[timeframe("1m")]))

    with simulator().run_in_thread() as exchange, pytest.raises(DataNotFoundError, match="BTC-USDR") as error:
        asyncio.run(run(exchange))
    assert "BTC-USDT" in error.value.hint


async def read(exchange: Simulator, count: int, *, storage: PostgreSQLStorage | None = None) -> list[LiveCandle]:
    """The first ``count`` candles of two symbols."""
    settings = load_settings(
        None,
        environ={},
        overrides={
            "data_collection.base_url": exchange.base_url,
            "data_collection.stream_grace_s": GRACE_S,
        },
    )
    seen: list[LiveCandle] = []
    async with asyncio.timeout(30):
        candles = live(SYMBOLS[:2], "1m", storage=storage, settings=settings)
        try:
            async for candle in candles:
                seen.append(candle)
                if storage is not None:
                    newest = storage.get_latest_timestamp(candle.symbol, "1m")
                    assert newest is not None
                    assert newest >= candle.timestamp
                if len(seen) == count:
                    break
        finally:
            await candles.aclose()
    return seen


@pytest.mark.parametrize("stored", [False, True], ids=["not stored", "stored"])
def test_readers_get_each_candle_once_in_order_and_after_its_commit(storage: PostgreSQLStorage, stored: bool) -> None:
    # the clock of a reader is asked for once a minute, so the simulated one may not run fast
    exchange = Simulator(SeededMarket(5, SYMBOLS), clock=RunningClock(START + 58_500, 1.0))
    with exchange.run_in_thread():
        exchange.arm_stream(StreamFaultKind.DOUBLED_CONFIRM, inst_id="BTC-USDT")
        seen = asyncio.run(read(exchange, 2, storage=storage if stored else None))
        market = {
            symbol: exchange.market.newest(symbol, utc_bar(timeframe("1m")), Span(START, START + 60_000), 1)
            for symbol in SYMBOLS
        }
    assert sorted(candle.symbol for candle in seen) == sorted(SYMBOLS[:2])
    for candle in seen:
        assert candle.timestamp.timestamp() * 1000 == START
        assert candle.close == market[candle.symbol].close[0]
        assert candle.quote_volume == market[candle.symbol].quote_volume[0]
