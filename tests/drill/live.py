"""A live drill: hours of simulated candles of many series in minutes, with lost connections and dropped confirms.

At the end every candle must be there, once, and the ledger must say so; and it is told how soon each was committed.
"""

from __future__ import annotations

import asyncio
import gc
import random
from dataclasses import dataclass, replace

import psutil

from chandlery.domain.candle import same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import MINUTE_MS, UtcMs, timeframe
from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.settings import OkxSettings
from chandlery.exchange.okx.stream import OkxStream
from chandlery.exchange.okx.stream_settings import StreamSettings
from chandlery.exchange.pacing import RateLimit
from chandlery.services.live.recorder import LiveWanted, Recorder
from chandlery.services.live.state import LiveProgress
from chandlery.services.outputs import PostgresOutput
from chandlery.simulator import RunningClock, SeededMarket, Simulator, StreamFaultKind, StreamFaultPlan
from chandlery.simulator.bars import utc_bar
from chandlery.storage.postgres import PostgreSQLStorage

START: UtcMs = 1_709_251_200_000
"""2024-03-01 UTC."""
_GRACE_S = 5.0
_LONGEST_HEALING_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOutcome:
    """What a live drill showed. Latencies are milliseconds from arrival to commit, memory is in MiB."""

    series: int
    minutes: int
    candles: int
    healed: int
    losses: int
    withheld: int
    median_ms: float
    p99_ms: float
    slowest_ms: float
    memory_early: float
    memory_late: float

    def __str__(self) -> str:
        return (
            f"{self.minutes} minutes of {self.series} series: {self.candles:,} candles, all there, each once; "
            f"{self.losses} connections lost, {self.withheld} confirms never sent, {self.healed:,} candles healed; "
            f"arrival to commit {self.median_ms:.0f} ms median, {self.p99_ms:.0f} ms p99, "
            f"{self.slowest_ms:.0f} ms at most; "
            f"memory {self.memory_early:.0f} MiB after a tenth, {self.memory_late:.0f} MiB at the end"
        )


def live_drill(
    database_url: str, *, series: int, minutes: int, speed: float, losses: int, missing: float = 0.01, seed: int = 1
) -> LiveOutcome:
    """Stream ``series`` instruments for so many simulated minutes at ``speed`` times the real one.

    Raises AssertionError if a candle is missing, doubled or another one than the exchange's.
    """
    symbols = [f"COIN{number:03d}-USDT" for number in range(series)]
    simulator = Simulator(
        SeededMarket(seed, symbols),
        clock=RunningClock(START, speed),
        stream_fault_plan=StreamFaultPlan(seed, {StreamFaultKind.MISSING_CONFIRM: missing}),
    )
    with simulator.run_in_thread(), PostgreSQLStorage(database_url) as storage:
        return asyncio.run(_Drill(simulator, storage, symbols, speed).run(minutes, losses, random.Random(seed)))


class _Drill:
    def __init__(self, simulator: Simulator, storage: PostgreSQLStorage, symbols: list[str], speed: float) -> None:
        self._simulator, self._storage, self._symbols, self._speed = simulator, storage, symbols, speed
        storage.require_schema()

    async def run(self, minutes: int, losses: int, rng: random.Random) -> LiveOutcome:
        reach = _reach(self._simulator.base_url, self._speed)
        often = StreamSettings(connects=RateLimit(requests=100, window_s=1.0))
        async with OkxSource(reach) as source:
            recorder = Recorder(
                source,
                lambda wanted: OkxStream(wanted, reach, stream=often),
                PostgresOutput(self._storage),
                # what is pushed late on a fast clock is late by many simulated seconds
                grace_s=_GRACE_S + 1.0 * self._speed,
            )
            wanted = LiveWanted(symbols=self._symbols, timeframes=[timeframe("1m")], since=START)
            running = asyncio.create_task(recorder.run(wanted))
            end = START + minutes * MINUTE_MS
            try:
                memory = await self._strike(running, end, losses, rng)
                await self._all_healed(running, recorder.progress, end)
            finally:
                recorder.stop()
                await running
        self._compare(end)
        return self._outcome(recorder.progress, minutes, memory)

    async def _strike(
        self, running: asyncio.Task[None], end: UtcMs, losses: int, rng: random.Random
    ) -> tuple[float, float]:
        """Cut all connections now and then until the simulated ``end``; memory early and late."""
        strikes = sorted(rng.uniform(START, end - MINUTE_MS) for _ in range(losses))
        early = 0.0
        while (now := self._simulator.clock.now()) < end and not running.done():
            if strikes and now >= strikes[0]:
                strikes.pop(0)
                self._simulator.drop_streams()
            if not early and now > START + (end - START) / 10:
                early = _memory()
            await asyncio.sleep(0.05)
        return early, _memory()

    async def _all_healed(self, running: asyncio.Task[None], progress: LiveProgress, end: UtcMs) -> None:
        async with asyncio.timeout(_LONGEST_HEALING_S):
            while any(tail.missing(end) for tail in progress.tails.values()) or not progress.tails:
                if running.done():
                    return
                await asyncio.sleep(0.05)

    def _compare(self, end: UtcMs) -> None:
        span = Span(START, end)
        for symbol in self._symbols:
            series = Series("okx-simulated", symbol, timeframe("1m"))
            market = self._simulator.market.newest(symbol, utc_bar(series.timeframe), span, 2**31)
            stored = self._storage.reader.candles(series, span)
            assert stored.open_time.tolist() == market.open_time.tolist(), f"{series} has other candles"
            assert same_values(stored, market).all(), f"{series} has other values"
            assert Spans([span]) - self._storage.ledger.covered(series) == Spans(), f"{series} is not all covered"

    def _outcome(self, progress: LiveProgress, minutes: int, memory: tuple[float, float]) -> LiveOutcome:
        latencies = [progress.latency_s(share) or 0.0 for share in (0.5, 0.99, 1.0)]
        return LiveOutcome(
            series=len(self._symbols),
            minutes=minutes,
            candles=len(self._symbols) * minutes,
            healed=progress.healed,
            losses=progress.losses,
            withheld=len(self._simulator.stream_journal.withheld()),
            median_ms=latencies[0] * 1000,
            p99_ms=latencies[1] * 1000,
            slowest_ms=latencies[2] * 1000,
            memory_early=memory[0],
            memory_late=memory[1],
        )


def _reach(base_url: str, speed: float) -> OkxSettings:
    """The limits grow with the speed of the clock, and its time is asked for often."""
    plain = OkxSettings(base_url=base_url, clock_age_s=1.0 / speed)
    return replace(plain, limits={endpoint: _scaled(limit, speed) for endpoint, limit in plain.limits.items()})


def _scaled(limit: RateLimit, speed: float) -> RateLimit:
    return RateLimit(requests=round(limit.requests * speed), window_s=limit.window_s)


def _memory() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20
