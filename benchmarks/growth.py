"""What a candle costs as the store grows: saving, sealing, and reading one month of one series.

Twenty series are stored month by month, as collectors do, and every month is sealed, but for one series, of which rows
are read. A figure is of the last steps before a size was reached, so that no average hides what the latest candle cost.
Before those the server catches up: it vacuums and writes to disk what was stored at full speed for minutes, with two
or three processes, and that is not a matter of size.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import psycopg

from benchmarks.samples import candles_from
from chandlery.domain.candle import FIELDS
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import MINUTE_MS, TIMEFRAMES, UtcMs
from chandlery.services.seal import EVER, Sealer
from chandlery.storage.intake.frames import table_frame
from chandlery.storage.partitions import calendar_periods
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery

SIZES = (100_000, 1_000_000, 10_000_000, 50_000_000)
"""Candles stored, at which it is measured."""

_SYMBOLS = tuple(f"GROW{number:02d}-USDT" for number in range(20))
_PLAIN, _SEALED = _SYMBOLS[:2]
"""The series that is never sealed, and one that always is."""
_START: UtcMs = 1_293_840_000_000
"""2011-01-01 UTC; the month before warms everything up."""
_END: UtcMs = 1_767_225_600_000
_LAST_STEPS = 20
_READS = 40
_TIMES_EACH = 5
_STEP = 31 * 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Microseconds a candle with ``candles`` stored, of each of the last steps."""

    candles: int
    save: Sequence[float]
    seal: Sequence[float]
    read_sealed: Sequence[float]
    read_rows: Sequence[float]


def growth(storage: PostgreSQLStorage, *, millions: float, minutes: float) -> list[Growth]:
    """Fill a database up to ``millions`` of candles; what is reached after ``minutes`` is the last size."""
    deadline = time.monotonic() + minutes * 60
    wanted = [size for size in SIZES if size <= millions * 1_000_000]
    store = _Store(storage)
    found: list[Growth] = []
    for _ in store.grow() if wanted else ():
        late = time.monotonic() > deadline
        if not late:
            store.settle_before(wanted[len(found)])
        if late or store.candles >= wanted[len(found)]:
            found.append(store.measured())
        if late or len(found) == len(wanted):
            break
    return found


class _Store:
    """A store that grows, and what its latest steps cost."""

    def __init__(self, storage: PostgreSQLStorage) -> None:
        self._storage = storage
        self._sealer = Sealer(storage)
        self._random = np.random.default_rng(1)
        self._months: list[Span] = []
        self._saves: deque[float] = deque(maxlen=_LAST_STEPS)
        self._seals: deque[float] = deque(maxlen=_LAST_STEPS)
        self._settled_before = 0
        self.candles = 0

    def grow(self) -> Iterator[None]:
        """Save a month of one series a step; the first month costs imports and connections, and is not counted."""
        before, *months = calendar_periods(1, Span(_START - MINUTE_MS, _END))
        for symbol in (_PLAIN, _SEALED):
            self._save(symbol, before)
        self._months.append(before)
        self.measured()
        for steps in (self._saves, self._seals, self._months):
            steps.clear()
        self.candles = 0
        for month in months:
            self._months.append(month)
            for symbol in _SYMBOLS:
                self._save(symbol, month)
                yield
            self._seal()

    def settle_before(self, size: int) -> None:
        """Once, when the last steps to ``size`` begin: have the server catch up, and measure from then on."""
        begin = size - _LAST_STEPS * _STEP
        if self._settled_before < size and 0 < begin <= self.candles:
            self._settled_before = size
            self._seal()
            self._settle()
            self._saves.clear()
            self._seals.clear()

    def _settle(self) -> None:
        with psycopg.connect(self._storage.database.conninfo, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def measured(self) -> Growth:
        """The latest steps, and reads of months at random."""
        self._seal()
        self._settle()
        return Growth(
            candles=self.candles,
            save=list(self._saves),
            seal=list(self._seals),
            read_sealed=self._reads(_SEALED),
            read_rows=self._reads(_PLAIN),
        )

    def _save(self, symbol: str, month: Span) -> None:
        count = (month.end - month.start) // MINUTE_MS
        batch = candles_from(symbol, month.start, count, seed=self.candles)
        delivery = Delivery(batch=batch, covered=batch.runs())
        self._saves.append(_us_a_candle(lambda: self._storage.writer.write([delivery]), count))
        self.candles += count

    def _seal(self) -> None:
        """Seal the months that are whole by now."""
        for entry in self._sealer.entries():
            if entry.series.symbol != _PLAIN:
                began = time.perf_counter()
                report = self._sealer.seal(entry, before=EVER.end)
                if report.candles:
                    self._seals.append((time.perf_counter() - began) * 1e6 / report.candles)

    def _reads(self, symbol: str) -> list[float]:
        series = Series("okx", symbol, TIMEFRAMES["1m"])
        found = []
        for number in self._random.integers(len(self._months), size=_READS):
            month = self._months[number]
            count = (month.end - month.start) // MINUTE_MS
            # from the disk, if it was long ago; what comes next is what the store's size costs
            self._read(series, month)
            again = (_us_a_candle(partial(self._read, series, month), count) for _ in range(_TIMES_EACH))
            found.append(statistics.median(again))
        return found

    def _read(self, series: Series, month: Span) -> None:
        table_frame(self._storage.reader.read([series], month), FIELDS)


def _us_a_candle(work: Callable[[], object], candles: int) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6 / candles
