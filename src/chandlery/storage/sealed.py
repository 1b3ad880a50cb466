"""Sealed spans in a transaction: what is sealed of a series, and rows and segments turned into each other.

Whoever changes segments holds the series' lock for writing, and says with ``mind_segments`` that he keeps segments and
rows in step himself. For everybody else the triggers on the partitions do it; see docs/decisions/sealed-months.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from chandlery.domain.candle import CandleBatch, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, IntArray, Timeframe, UtcMs
from chandlery.errors import DamagedDataError
from chandlery.storage.archived import ArchivedSegment
from chandlery.storage.copy_binary import candle_stream, candles_from
from chandlery.storage.coverage import lock_key
from chandlery.storage.derivation import lock_series, made_of, uncover
from chandlery.storage.partitions import calendar_periods, partition_values, partitions_of, table_of
from chandlery.storage.pgtime import to_datetime, to_ms, to_multirange
from chandlery.storage.segment_files import encode
from chandlery.storage.segment_reading import decode
from chandlery.storage.sql import query
from chandlery.storage.tiers import described, with_bytes


def sealing_units(timeframe: Timeframe, span: Span) -> list[Span]:
    """What is sealed as one and touched by ``span``: a month below 1h, a year below 1d, else ten years."""
    step = timeframe.step_ms
    months = 120 if step is None or step >= DAY_MS else 12 if step >= HOUR_MS else 1
    return calendar_periods(months, span)


def unit_of(timeframe: Timeframe, time: UtcMs) -> Span:
    """The span that is sealed as one and holds ``time``."""
    [unit] = sealing_units(timeframe, Span(time, time + 1))
    return unit


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed span of a series, and whether its candles stand as rows too."""

    span: Span
    rows_kept: bool


class SealedSeries:
    """One series in the transaction that ``connection`` is in."""

    def __init__(self, connection: psycopg.Connection, instrument_id: int, series: Series) -> None:
        self.connection = connection
        self.series = series
        self._instrument_id = instrument_id
        self._table = table_of(series.timeframe)

    def lock(self) -> None:
        """Keep writers of this series away until the transaction ends, those who write by hand too."""
        for purpose in (1, 3):
            key = lock_key(purpose, self._instrument_id, self.series)
            self.connection.execute("SELECT pg_advisory_xact_lock(%s)", [key])

    def mind_segments(self) -> None:
        """From now on the triggers leave it to this transaction to keep segments and rows in step."""
        self.connection.execute("SET LOCAL chandlery.minds_segments = 'on'")

    def spans(self, span: Span) -> list[Sealed]:
        """What is sealed and touched by ``span``, in order."""
        rows = self.connection.execute(query("sealed_spans"), self._values(span))
        return [Sealed(Span(to_ms(start), to_ms(end)), kept) for start, end, kept in rows]

    def rows(self, span: Span) -> CandleBatch:
        """The candles that stand as rows and open in ``span``. Raises MisplacedRowError if one is no candle."""
        with self.connection.cursor(binary=True) as cursor:
            row = cursor.execute(query("stored_candles", table=self._table), self._values(span)).fetchone()
        return CandleBatch.empty(self.series) if row is None or row[0] is None else candles_from(row[0], self.series)

    def candles(self, unit: Span) -> CandleBatch:
        """The candles of a sealed span, out of its segment or its archived file, for whoever has the series' lock.

        Raises DamagedDataError, and ArchiveUnavailable if the file cannot be had.
        """
        candles = self.candles_if_sealed(unit)
        assert candles is not None, "nobody else unseals what is locked"
        return candles

    def candles_if_sealed(self, unit: Span) -> CandleBatch | None:
        """The same without the lock; None if nothing is sealed there any more."""
        with self.connection.cursor(binary=True, row_factory=dict_row) as cursor:
            row = cursor.execute(query("read_segment"), self._values(unit)).fetchone()
        if row is None:
            return None
        segment = described(self.series, row)
        if not isinstance(segment, ArchivedSegment):
            segment = with_bytes(segment, [(segment.all_pieces, row["data"])])
        try:
            return CandleBatch.of(self.series, decode(segment))
        except (DamagedDataError, ValueError) as error:
            raise damaged(self.series, unit, str(error)) from error

    def stored(self, span: Span) -> CandleBatch:
        """All candles that open in ``span``, whether they stand as rows or are sealed without."""
        parts = [self.rows(span)]
        for sealed in self.spans(span):
            if not sealed.rows_kept:
                candles = self.candles(sealed.span)
                parts.append(candles.take((candles.open_time >= span.start) & (candles.open_time < span.end)))
        return parts[0] if len(parts) == 1 else _in_order(self.series, parts)

    def seal(self, unit: Span, candles: CandleBatch) -> int:
        """Add the segment of ``unit``, whose rows are ``candles``, at least one. Returns its bytes."""
        segment = encode(candles)
        values = self._values(unit) | {
            "first": to_datetime(segment.first),
            "last": to_datetime(segment.last),
            "candles": segment.rows,
            "checksum": segment.checksum,
            "bounds": list(segment.bounds),
            "checksums": list(segment.checksums),
            "data": segment.file,
        }
        self.connection.cursor(binary=True).execute(query("add_segment"), values)
        return len(segment.file)

    def seal_alone(self, unit: Span, candles: CandleBatch) -> None:
        """Add the segment of ``unit``, of which there are no rows."""
        self.seal(unit, candles)
        self.connection.execute(query("rows_are_dropped"), self._values(unit))

    def break_seals(self, written: CandleRows) -> None:
        """Before ``written`` is stored: drop the segments that will be untrue; rows that were dropped come back first.

        Raises DamagedDataError.
        """
        if not len(written):
            return
        self.mind_segments()  # also where nothing is sealed: the triggers look at every row of the partition
        touched = self._touched(written.open_time)
        for one in touched:
            if not one.rows_kept:
                self.bring_back(one.span)
        self.drop_segments([one.span for one in touched if one.rows_kept])

    def _touched(self, open_times: IntArray) -> list[Sealed]:
        sealed = self.spans(Span(int(open_times[0]), int(open_times[-1]) + 1))
        return [one for one in sealed if np.any((open_times >= one.span.start) & (open_times < one.span.end))]

    def bring_back(self, unit: Span) -> int:
        """Put the candles of a sealed span without rows back as rows, and drop the segment. Returns how many.

        Raises DamagedDataError if the rows are not what was sealed.
        """
        candles = self.candles(unit)
        with self.connection.cursor().copy(query("insert_candles", table=self._table)) as copy:
            for block in candle_stream(candles, self._instrument_id):
                copy.write(block)
        if not identical(self.rows(unit), candles):
            raise damaged(self.series, unit, "its rows came back otherwise than they were sealed.")
        self.drop_segments([unit])
        return len(candles)

    def drop_rows(self, unit: Span) -> int:
        """Leave a sealed span to its segment alone, once that is proved to hold the same. Returns how many rows went.

        None go if no row is later: the newest candle of a series is a row always, for those who look for it in SQL.
        Raises DamagedDataError.
        """
        later = self.connection.execute(query("is_row_from", table=self._table), self._values(unit)).fetchone()
        if later is None:
            return 0
        self.leave_to_segment(unit)
        return self.connection.execute(query("drop_rows", table=self._table), self._values(unit)).rowcount

    def leave_to_segment(self, unit: Span) -> None:
        """Count the rows of a sealed span as dropped, once its segment is proved to hold the same; they go next.

        Raises DamagedDataError.
        """
        if not identical(self.rows(unit), self.candles(unit)):
            raise damaged(self.series, unit, "its segment and its rows differ.")
        self.connection.execute(query("rows_are_dropped"), self._values(unit))

    def drop_segments(self, units: Sequence[Span]) -> None:
        """Forget segments; what stands as rows stays."""
        starts = [to_datetime(unit.start) for unit in units]
        if starts:
            self.connection.execute(query("drop_segments"), self._key | {"starts": starts})

    def forget_coverage(self, bars: Span) -> None:
        """Take ``bars`` out of the ledger, and what was made of them in coarser series, so that all is known anew."""
        stale = made_of(self.connection, self.series.timeframe, [(self._instrument_id, Spans([bars]))])
        lock_series(self.connection, [lock_key(1, number, series) for number, series, _ in stale])
        uncover(self.connection, stale)
        self.connection.execute(query("forget_coverage"), self._key | {"bars": to_multirange(Spans([bars]))})

    @property
    def _key(self) -> dict[str, Any]:
        return {"instrument_id": self._instrument_id, "timeframe": self.series.timeframe.name}

    def _values(self, span: Span) -> dict[str, Any]:
        return self._key | {"start": to_datetime(span.start), "end": to_datetime(span.end)}


def guard(connection: psycopg.Connection, timeframe: Timeframe, unit: Span) -> None:
    """Make sure that the triggers stand on the partition of ``unit``; waits for all who write there."""
    [(name, bounds)] = partitions_of(timeframe, unit)
    connection.execute(query("guard_partition"), partition_values(timeframe, name, bounds))


def give_back_space(connection: psycopg.Connection, partition: str) -> None:
    """Empty the files of a partition that has no rows any more: what deleted rows took is not free until then."""
    table = sql.Identifier("chandlery", partition)
    if is_empty(connection, table):
        let_readers_end(connection)
        connection.execute("SET LOCAL chandlery.minds_segments = 'on'")
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
        if is_empty(connection, table):
            connection.execute(sql.SQL("TRUNCATE {}").format(table))


def let_readers_end(connection: psycopg.Connection) -> None:
    """Wait for all who may look at the database as it was before now, and so miss what is truncated or dropped next.

    What goes was sealed by a transaction that has ended. Raises LockNotAvailable when ``lock_timeout`` is over.
    """
    connection.execute(query("let_readers_end"))


def is_empty(connection: psycopg.Connection, table: sql.Identifier) -> bool:
    """Whether a table has no row."""
    return connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(table)).fetchone() is None


def identical(left: CandleRows, right: CandleRows) -> bool:
    """Whether two tables are the same to the last bit."""
    pairs = zip(left.columns().values(), right.columns().values(), strict=True)
    return len(left) == len(right) and all(np.array_equal(a.view(np.int64), b.view(np.int64)) for a, b in pairs)


def damaged(series: Series, unit: Span, what: str) -> DamagedDataError:
    """The error of a sealed span that is not what it was."""
    return DamagedDataError(
        f"the sealed candles of {series} from {to_datetime(unit.start):%Y-%m-%d} are damaged: {what}",
        hint=f"Run: chandlery seal {series.symbol} --timeframe {series.timeframe} --verify",
    )


def _in_order(series: Series, parts: Sequence[CandleBatch]) -> CandleBatch:
    names = list(parts[0].columns())
    order = np.argsort(np.concatenate([part.open_time for part in parts]), kind="stable")
    return CandleBatch.of(series, {name: np.concatenate([getattr(p, name) for p in parts])[order] for name in names})
