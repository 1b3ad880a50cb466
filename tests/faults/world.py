"""A small world to break: an exchange, a database behind a proxy, a collector between them, and the truth."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
from psycopg.conninfo import conninfo_to_dict

from candles import START
from chandlery.domain.candle import COLUMNS, CandleRows, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import MINUTE_MS, TIMEFRAMES, Timeframe, UtcMs
from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.settings import DOCUMENTED_LIMITS, OkxSettings
from chandlery.exchange.pacing import RateLimit
from chandlery.services.collect import Collector, Progress, SeriesReport, Wanted
from chandlery.services.outputs import PostgresOutput
from chandlery.simulator import FixedClock, SeededMarket, Simulator
from chandlery.simulator.bars import utc_bar
from chandlery.storage.database import DatabaseOptions
from chandlery.storage.pgtime import to_ms, to_spans
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.resilience import Setback

SYMBOL = "BTC-USDT"
EXCHANGE = "okx-simulated"
MINUTE = TIMEFRAMES["1m"]
PAGES = 12
"""Pages of a run: enough for a fault to strike in its middle."""

HASTY = DatabaseOptions(
    connect_timeout_s=2,
    statement_timeout_s=2.0,
    lock_timeout_s=0.5,
    client_deadline_s=3.0,
    patience_s=math.inf,
)
"""A collector's patience, and deadlines short enough for a test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast pages are asked for, how large they are, and how long one answer of the exchange may take."""

    pages_per_s: float = 5_000.0
    timeout_s: float = 10.0
    page_size: int = 300

    def settings(self, base_url: str) -> OkxSettings:
        limit = RateLimit(requests=max(1, round(self.pages_per_s)), window_s=1.0)
        limits = dict.fromkeys(DOCUMENTED_LIMITS, limit)
        return OkxSettings(
            base_url=base_url, limits=limits, share=1.0, timeout_s=self.timeout_s, page_size=self.page_size
        )


@dataclass(slots=True, kw_only=True)
class World:
    """``direct`` and ``conninfo`` are the same database, past the proxy and through it."""

    exchange: Simulator
    direct: str
    conninfo: str
    symbols: Sequence[str] = (SYMBOL,)
    timeframes: Sequence[Timeframe] = (MINUTE,)
    since: UtcMs = START
    options: DatabaseOptions = HASTY
    pace: Pace = field(default_factory=Pace)

    @property
    def series(self) -> list[Series]:
        return [Series(EXCHANGE, symbol, timeframe) for symbol in self.symbols for timeframe in self.timeframes]

    @property
    def database_name(self) -> str:
        return str(conninfo_to_dict(self.direct)["dbname"])

    def span(self, series: Series) -> Span:
        """What a run from now on is to cover."""
        span = series.timeframe.aligned(Span(self.since, self.exchange.clock.now()))
        assert span is not None
        return span

    def collect(self) -> list[SeriesReport]:
        """Run a collector to its end."""
        with self.collecting() as run:
            pass
        return run.reports

    @contextlib.contextmanager
    def collecting(self) -> Iterator[Running]:
        """A collector at work while the block runs; its end is waited for, and its failure raised."""
        with PostgreSQLStorage(self.conninfo, self.options) as storage:
            storage.require_schema()  # as every command does: whoever was let in once waits out what follows
            run = Running(self, storage)
            run.start()
            try:
                yield run
            finally:
                run.join(90)
        assert not run.is_alive(), "the collector hangs"
        if run.failure is not None:
            raise run.failure

    def truth(self, series: Series) -> CandleRows:
        return self.exchange.market.newest(series.symbol, utc_bar(series.timeframe), self.span(series), 10**9)

    def assert_complete(self) -> None:
        """Nothing lost, nothing twice, nothing else, and the ledger says so."""
        for series, stored, covered in snapshot(self.direct):
            truth = self.truth(series)
            assert len(stored) == len(truth), f"{series}: {len(truth) - len(stored)} lost or doubled"
            assert np.array_equal(stored.open_time, truth.open_time)
            assert same_values(stored, truth).all()
            assert covered == Spans([self.span(series)])
        assert {series for series, _, _ in snapshot(self.direct)} == set(self.series)

    def assert_honest(self) -> None:
        """At any moment: what is stored is the exchange's, and the ledger claims nothing that is not stored."""
        for series, stored, covered in snapshot(self.direct):
            truth = self.truth(series)
            at = np.searchsorted(truth.open_time, stored.open_time)
            assert np.array_equal(truth.open_time[at], stored.open_time), "a candle twice, or one of nowhere"
            assert same_values(stored, truth.take(at)).all()
            claimed = np.array([time in covered for time in truth.open_time.tolist()], dtype=bool)
            ahead = truth.open_time[claimed & ~np.isin(truth.open_time, stored.open_time)]
            assert not len(ahead), f"the ledger of {series} is ahead of the data by {len(ahead)} candles"


class Running(threading.Thread):
    """One run of a collector.

    ``page_times`` are the times (monotonic seconds) at which a page was committed, ``setbacks`` what the database did.
    """

    def __init__(self, world: World, storage: PostgreSQLStorage) -> None:
        super().__init__(name="collector", daemon=True)
        self._world = world
        self.storage = storage
        self.reports: list[SeriesReport] = []
        self.failure: BaseException | None = None
        self.page_times: list[float] = []
        self.setbacks: list[Setback] = []
        storage.database.persistence.on_setback = self.setbacks.append
        self._moved = threading.Condition()
        self._collector: Collector | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        try:
            self.reports = asyncio.run(self._collect())
        except BaseException as failure:
            self.failure = failure
        with self._moved:
            self._moved.notify_all()

    async def _collect(self) -> list[SeriesReport]:
        world = self._world
        self._loop = asyncio.get_running_loop()
        wanted = Wanted(symbols=world.symbols, timeframes=world.timeframes, since=world.since)
        async with OkxSource(world.pace.settings(world.exchange.base_url)) as source:
            self._collector = Collector(source, PostgresOutput(self.storage), watch=self._watch)
            return await self._collector.run(wanted)

    def _watch(self, progress: Progress) -> None:
        with self._moved:
            self.page_times += [time.monotonic()] * (progress.pages_done - len(self.page_times))
            self._moved.notify_all()

    def wait_for_pages(self, count: int) -> None:
        """Return when so many pages are stored."""
        with self._moved:
            self._moved.wait_for(lambda: len(self.page_times) >= count or self.failure is not None, 30)
        if self.failure is not None:
            raise self.failure
        assert len(self.page_times) >= count

    def wait_for_setback(self, said: str, within_s: float = 15.0) -> None:
        """Return when the database has failed with words that the pattern ``said`` finds."""
        give_up = time.monotonic() + within_s
        while not any(re.search(said, str(setback.error)) for setback in list(self.setbacks)):
            assert time.monotonic() < give_up, [str(setback.error) for setback in self.setbacks]
            assert self.is_alive(), "it is over already"
            time.sleep(0.02)

    def stop(self) -> None:
        """As Ctrl-C does: from within the loop."""
        assert self._loop is not None
        assert self._collector is not None
        self._loop.call_soon_threadsafe(self._collector.stop)

    def seconds_to_the_first_page_after(self, moment: float) -> float:
        return next(at for at in self.page_times if at >= moment) - moment


def snapshot(conninfo: str) -> list[tuple[Series, CandleRows, Spans]]:
    """Every series as it is stored and as the ledger has it, at one and the same moment."""
    found = []
    with psycopg.connect(conninfo) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        ledger = connection.execute(
            "SELECT id, exchange, symbol, timeframe, spans FROM chandlery.coverage JOIN chandlery.instrument"
            "    ON id = instrument_id"
        ).fetchall()
        for number, exchange, symbol, timeframe, spans in ledger:
            series = Series(exchange, symbol, TIMEFRAMES[timeframe])
            found.append((series, _stored(connection, number, series), to_spans(spans)))
    return found


def _stored(connection: psycopg.Connection, number: int, series: Series) -> CandleRows:
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT open_time, open, high, low, close, base_volume, quote_volume FROM chandlery.candle"
        " WHERE instrument_id = %s AND timeframe = %s ORDER BY open_time",
        [number, series.timeframe.name],
    ).fetchall()
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(COLUMNS, ())
    return CandleRows.of(series, {**columns, "open_time": [to_ms(at) for at in columns["open_time"]]})


def small_exchange(*, seed: int = 3, pages: int = PAGES, symbols: Sequence[str] = (SYMBOL,)) -> Simulator:
    """A market whose present is ``pages`` pages after START, half a minute past the full one."""
    present = START + pages * 300 * MINUTE_MS + 30_000
    return Simulator(SeededMarket(seed, symbols), clock=FixedClock(present))
