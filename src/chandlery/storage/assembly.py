"""One table out of rows, segments and archived files: room is made for all of them, then each is put into its place.

Segments are decoded a few at a time while others are still on their way, on as many threads as there are processors,
and their values go into the columns that are handed out. Archived files are fetched when the database is not needed any
more.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from chandlery.domain.candle import FloatArray
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.errors import DamagedDataError
from chandlery.storage.archived import ArchivedSegment
from chandlery.storage.arrow_link import Statements
from chandlery.storage.blocks import Blocks
from chandlery.storage.candle_table import PER_MS, CandleTable, open_times
from chandlery.storage.segment_reading import Share, read_together
from chandlery.storage.segments import Columns, Segment
from chandlery.storage.tiers import SegmentPart, fetch_segments

if TYPE_CHECKING:
    import pyarrow as pa

Counts = Mapping[int, int]
"""How many candles some parts have, by their numbers."""
Arrived = tuple[int, SegmentPart, Segment]
"""The number of a part, the part, and the bytes of it."""
TimeUnit = Literal["ms", "ns"]

_FILES_AT_ONCE = 16
_VALUES_AT_ONCE = 500_000
"""Fewer cost a tenth more to decode; of more nobody can do anything while the last are on their way."""


class Damaged(Exception):
    """The segments of ``parts`` are not as they were written; each has its error."""

    def __init__(self, parts: Sequence[tuple[SegmentPart, DamagedDataError]]) -> None:
        super().__init__("; ".join(str(error) for _, error in parts))
        self.parts = parts


class Assembly:
    """The candles of ``series`` that open in ``span``, made of the ``parts`` of each: ``fill``, then ``finish``.

    Times that need not be read as rows are in ``unit``.
    """

    def __init__(
        self,
        series: Sequence[Series],
        parts: Sequence[Sequence[SegmentPart | pa.Table]],
        span: Span,
        columns: Sequence[str],
        unit: TimeUnit,
    ) -> None:
        self._series = series
        self._sizes = [len(of_one) for of_one in parts]
        self._parts = list(chain.from_iterable(parts))
        self._span = span
        self._columns = columns
        self._unit = unit
        self._memory: Columns = {}
        self._rooms: list[Columns] = []
        self._jobs: list[Future[Counts]] = []

    def fill(self, blocks: Blocks, statements: Statements) -> None:
        """Make room for all, and fill it with what is in the database; what is damaged shows in ``finish``."""
        if not self.segments:
            return
        edges = np.cumsum([0, *(_most_rows(part, self._span) for part in self._parts)]).tolist()
        self._memory = _named(self._columns, blocks.lend(len(self._columns), edges[-1]))
        self._rooms = [{name: column[i:j] for name, column in self._memory.items()} for i, j in pairwise(edges)]
        with ThreadPoolExecutor(_processors()) as threads:
            self._fill_from_database(threads, statements)

    def finish(self) -> CandleTable:
        """One table of all. Raises Damaged, and StorageError if an archived file cannot be had."""
        import pyarrow as pa

        if not self.segments:
            of_each = np.cumsum([0, *self._sizes]).tolist()
            return CandleTable.joined(self._series, [pa.concat_tables(self._parts[i:j]) for i, j in pairwise(of_each)])
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            self._fill_from_files(threads)
        filled = _all_done(job.result for job in self._jobs)
        counts = [filled[number] for number in range(len(self._parts))]
        edges = np.cumsum([0, *counts], dtype=np.int64)[np.cumsum([0, *self._sizes])]
        return CandleTable(
            series=tuple(self._series), edges=edges, rows=pa.table(_as_arrow(self._closed_up(counts), self._unit))
        )

    @property
    def segments(self) -> int:
        """How many segments and archived files there are."""
        return sum(isinstance(part, SegmentPart) for part in self._parts)

    @property
    def row_parts(self) -> int:
        """How many runs of rows there are."""
        return len(self._parts) - self.segments

    def _fill_from_database(self, threads: ThreadPoolExecutor, statements: Statements) -> None:
        sealed: list[tuple[int, SegmentPart]] = []
        for number, part in enumerate(self._parts):
            if not isinstance(part, SegmentPart):
                self._jobs.append(threads.submit(self._copy, number, part))
            elif not isinstance(part.segment, ArchivedSegment):
                sealed.append((number, part))
        segments = fetch_segments(statements, [part for _, part in sealed], self._span, self._columns)
        arriving = ((number, part, segment) for (number, part), segment in zip(sealed, segments, strict=True))
        for lot in self._lots(arriving):
            self._jobs.append(threads.submit(self._decode, lot))

    def _lots(self, arriving: Iterable[Arrived]) -> Iterator[list[Arrived]]:
        """As many neighbours together as are worth a job."""
        lot: list[Arrived] = []
        values = 0
        for one in arriving:
            lot.append(one)
            segment = one[2]
            values += segment.rows_read(self._span) * len(segment.columns_read(self._columns, self._span))
            if values >= _VALUES_AT_ONCE:
                yield lot
                lot, values = [], 0
        if lot:
            yield lot

    def _fill_from_files(self, threads: ThreadPoolExecutor) -> None:
        for number, part in enumerate(self._parts):
            if isinstance(part, SegmentPart) and isinstance(part.segment, ArchivedSegment):
                self._jobs.append(threads.submit(self._read_file, number, part, part.segment))

    def _copy(self, number: int, rows: pa.Table) -> Counts:
        for name, target in self._rooms[number].items():
            target[:] = open_times(rows) if name == "open_time" else rows[name].to_numpy()
        return self._in_unit({number: len(rows)})

    def _decode(self, lot: Sequence[Arrived]) -> Counts:
        try:
            counts = read_together([Share(segment, self._rooms[number], self._span) for number, _, segment in lot])
        except DamagedDataError as error:
            if len(lot) == 1:
                raise Damaged([(lot[0][1], error)]) from error
            counts_of_each = _all_done(partial(self._decode, [one]) for one in lot)
            logging.getLogger("chandlery").warning("Months that are whole could not be read together: %s", error)
            return counts_of_each
        return self._in_unit({number: count for (number, _, _), count in zip(lot, counts, strict=True)})

    def _read_file(self, number: int, part: SegmentPart, segment: ArchivedSegment) -> Counts:
        try:
            return self._in_unit({number: segment.read_into(self._rooms[number], self._span)})
        except DamagedDataError as error:
            raise Damaged([(part, error)]) from error

    def _in_unit(self, counts: Counts) -> Counts:
        """Turn the times that were filled in from milliseconds to the unit while they are in the processor's cache."""
        if self._unit != "ms" and "open_time" in self._columns:
            for number, count in counts.items():
                self._rooms[number]["open_time"][:count] *= PER_MS[self._unit]
        return counts

    def _closed_up(self, counts: Sequence[int]) -> Columns:
        """The columns without what was left free where the times alone could tell how many candles there are."""
        if all(len(next(iter(room.values()))) == count for room, count in zip(self._rooms, counts, strict=True)):
            return self._memory
        return {
            name: np.concatenate([room[name][:count] for room, count in zip(self._rooms, counts, strict=True)])
            for name in self._columns
        }


def _all_done(tasks: Iterable[Callable[[], Counts]]) -> Counts:
    """What all ``tasks`` count. Raises Damaged with all that any of them finds."""
    counts: dict[int, int] = {}
    damaged: list[tuple[SegmentPart, DamagedDataError]] = []
    for task in tasks:
        try:
            counts |= task()
        except Damaged as found:
            damaged += found.parts
    if damaged:
        raise Damaged(damaged)
    return counts


def _most_rows(part: SegmentPart | pa.Table, span: Span) -> int:
    return part.segment.most_rows_in(span) if isinstance(part, SegmentPart) else len(part)


def _named(columns: Sequence[str], block: FloatArray) -> Columns:
    """The rows of one block as columns: one costs half of what as many do."""
    return {name: row.view(np.int64) if name == "open_time" else row for name, row in zip(columns, block, strict=True)}


def _processors() -> int:
    """How many this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _as_arrow(memory: Columns, unit: TimeUnit) -> dict[str, pa.Array]:
    """The same memory as Arrow's columns."""
    import pyarrow as pa

    columns = {name: pa.array(column) for name, column in memory.items()}
    if "open_time" in columns:
        columns["open_time"] = columns["open_time"].view(pa.timestamp(unit, "UTC"))
    return columns
