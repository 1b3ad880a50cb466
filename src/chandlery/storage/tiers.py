"""Reading all tiers as one: sealed spans from segments or archived files, everything else from rows, each candle once.

All segments of a call come in one statement, the rows in one a gap between them, and all from one snapshot, so that
nothing that is sealed or unsealed meanwhile is missed or seen twice. Segments are decoded side by side, straight into
the columns that are handed out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import sql

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.errors import DamagedDataError
from chandlery.storage.archived import ArchivedSegment, ArchiveFile
from chandlery.storage.arrow_link import Fetch
from chandlery.storage.candle_table import CandleTable, open_times
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_datetime, to_ms
from chandlery.storage.segments import Column, Description, Segment, SomePieces, decode, decode_into, pieces_of
from chandlery.storage.sql import query

if TYPE_CHECKING:
    import pyarrow as pa

Numbered = tuple[int | None, Series]
"""A series, and the number of its instrument if it has one."""
Place = tuple[Series, Span]
"""One sealed span of a series."""

_FILES_AT_ONCE = 16
_FEW_PIECES = 5
"""More of them take longer to cut out than all of a segment to fetch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPart:
    """A sealed span in which some of the wanted candles lie."""

    series: Series
    unit: Span
    rows_kept: bool
    segment: Description


class Damaged(Exception):
    """The segment of ``part`` is not as it was written."""

    def __init__(self, part: SegmentPart, error: DamagedDataError) -> None:
        super().__init__(str(error))
        self.part = part


def fetch_parts(
    fetch: Fetch, wanted: Sequence[Numbered], span: Span, columns: Sequence[str], passed_over: Set[Place]
) -> list[list[SegmentPart | pa.Table]]:
    """For each series what holds its candles in ``span``, in order; segments ``passed_over`` are read from rows."""
    found: list[list[SegmentPart | pa.Table]] = []
    segments = _segments(fetch, wanted, span, columns)
    for number, (instrument_id, series) in enumerate(wanted):
        used = [part for part in segments[number] if not (part.rows_kept and (series, part.unit) in passed_over)]
        gaps = Spans([span]) - Spans(part.unit for part in used)
        rows = [(gap.start, fetch(_rows_statement(instrument_id, series, gap, columns))) for gap in gaps]
        parts = sorted([*rows, *((part.unit.start, part) for part in used)], key=lambda pair: pair[0])
        found.append([part for _, part in parts])
    return found


def assembled(
    series: Sequence[Series], parts: Sequence[Sequence[SegmentPart | pa.Table]], span: Span, columns: Sequence[str]
) -> CandleTable:
    """One table of all parts. Raises Damaged, and StorageError if an archived file cannot be had."""
    import pyarrow as pa

    flat = _fetched([part for of_one in parts for part in of_one])
    if not any(isinstance(part, SegmentPart) for part in flat):
        return CandleTable.joined(series, [pa.concat_tables(of_one) for of_one in parts])
    takes = [_take(part, span) for part in flat]
    edges = np.cumsum([0, *(take.stop - take.start for take in takes)], dtype=np.int64)
    memory = _memory(columns, int(edges[-1]))
    places = [{name: column[start:end] for name, column in memory.items()} for start, end in pairwise(edges.tolist())]
    _side_by_side([partial(_fill, *one) for one in zip(flat, takes, places, strict=True)])
    return CandleTable(
        series=tuple(series), edges=edges[np.cumsum([0, *map(len, parts)])], rows=pa.table(_as_arrow(memory))
    )


def _fetched(parts: Sequence[SegmentPart | pa.Table]) -> list[SegmentPart | pa.Table]:
    """The same with the files of archived spans, which come many at a time."""
    fetched = list(parts)

    def fetch(number: int, part: SegmentPart, segment: ArchivedSegment) -> None:
        with _naming(part):
            fetched[number] = replace(part, segment=replace(segment, data=segment.checked()))

    jobs = [
        partial(fetch, number, part, part.segment)
        for number, part in enumerate(parts)
        if isinstance(part, SegmentPart) and isinstance(part.segment, ArchivedSegment)
    ]
    if jobs:
        _side_by_side(jobs, _FILES_AT_ONCE)
    return fetched


def _segments(fetch: Fetch, wanted: Sequence[Numbered], span: Span, columns: Sequence[str]) -> list[list[SegmentPart]]:
    """For each series its segments that overlap ``span``: all of each, or the pieces that hold ``columns``."""
    pieces = pieces_of(columns)
    if len(pieces) > _FEW_PIECES:
        pieces = []
    statement = query(
        "segments",
        instruments=sql.Literal([-1 if number is None else number for number, _ in wanted]),
        timeframes=sql.Literal([series.timeframe.name for _, series in wanted]),
        start=sql.Literal(to_datetime(span.start)),
        end=sql.Literal(to_datetime(span.end)),
        data=sql.SQL(", ").join(map(_piece, pieces)) if pieces else sql.Identifier("data"),
    )
    rows = fetch(statement.as_string())
    names = [f"piece_{number}" for number in pieces] or ["data"]
    data = zip(*(_buffers(rows[name]) for name in names), strict=True)
    found: list[list[SegmentPart]] = [[] for _ in wanted]
    for row, held in zip(rows.drop_columns(names).to_pylist(), data, strict=True):
        series = wanted[row["number"] - 1][1]
        segment = _segment(series, row, dict(zip(pieces, held, strict=True)) if pieces else held[0])
        unit = Span(to_ms(row["starts_at"]), to_ms(row["ends_at"]))
        part = SegmentPart(series=series, unit=unit, rows_kept=row["rows_kept"], segment=segment)
        found[row["number"] - 1].append(part)
    return found


def _piece(number: int) -> sql.Composed:
    return sql.SQL("substring(data FROM bounds[{0}] + 1 FOR bounds[{1}] - bounds[{0}]) AS {2}").format(
        sql.Literal(number + 1), sql.Literal(number + 2), sql.Identifier(f"piece_{number}")
    )


def _buffers(column: pa.ChunkedArray) -> Iterator[pa.Buffer | None]:
    """The values of a binary column, not copied; None where it is archived."""
    return (value.as_buffer() for chunk in column.chunks for value in chunk)


def _segment(series: Series, row: dict[str, Any], data: Any) -> Description:
    about: dict[str, Any] = {
        "rows": row["candles"],
        "first": to_ms(row["first_open_time"]),
        "last": to_ms(row["last_open_time"]),
        "step_ms": series.timeframe.step_ms,
        "bounds": tuple(row["bounds"]),
        "checksums": tuple(row["checksums"]),
    }
    if row["archived"]:
        file = ArchiveFile(row["archive_file"], row["archive_bytes"], row["archive_sha256"])
        return ArchivedSegment(**about, file=file)
    if isinstance(data, dict):
        return SomePieces(**about, pieces=data)
    return Segment(**about, checksum=row["checksum"], data=data)


def _rows_statement(instrument_id: int | None, series: Series, span: Span, columns: Sequence[str]) -> str:
    # a statement a series costs less than one for all: its plan is exact, and nothing has to be sorted
    return query(
        "read_candles",
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        table=table_of(series.timeframe),
        instrument_id=sql.Literal(-1 if instrument_id is None else instrument_id),
        timeframe=sql.Literal(series.timeframe.name),
        start=sql.Literal(to_datetime(span.start)),
        end=sql.Literal(to_datetime(span.end)),
    ).as_string()


def _take(part: SegmentPart | pa.Table, span: Span) -> slice:
    """Which candles of a part open in ``span``."""
    if not isinstance(part, SegmentPart):
        return slice(0, part.num_rows)
    segment = part.segment
    if span.start <= segment.first and segment.last < span.end:
        return slice(0, segment.rows)
    with _naming(part):
        times = decode(segment, ["open_time"])["open_time"]
    start, end = np.searchsorted(times, [span.start, span.end]).tolist()
    return slice(start, end)


def _fill(part: SegmentPart | pa.Table, take: slice, targets: dict[str, Column]) -> None:
    if not isinstance(part, SegmentPart):
        for name, target in targets.items():
            target[:] = open_times(part) if name == "open_time" else part[name].to_numpy()
        return
    with _naming(part):
        if take == slice(0, part.segment.rows):
            decode_into(part.segment, targets)
            return
        for name, column in decode(part.segment, list(targets)).items():
            targets[name][:] = column[take]


def _memory(columns: Sequence[str], rows: int) -> dict[str, Column]:
    """A column each in one block, which costs half of what as many blocks do."""
    block = np.empty((len(columns), rows))
    return {name: row.view(np.int64) if name == "open_time" else row for name, row in zip(columns, block, strict=True)}


@contextlib.contextmanager
def _naming(part: SegmentPart) -> Iterator[None]:
    try:
        yield
    except DamagedDataError as error:
        raise Damaged(part, error) from error


def _side_by_side(jobs: Sequence[Callable[[], None]], at_most: int | None = None) -> None:
    """On as many threads as there are processors, or ``at_most`` where they wait for others."""
    workers = min(len(jobs), at_most or len(os.sched_getaffinity(0)))
    if workers == 1:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(workers) as threads:
        for _ in threads.map(lambda job: job(), jobs):
            pass


def _as_arrow(memory: dict[str, Column]) -> dict[str, pa.Array]:
    """The same memory as Arrow's columns."""
    import pyarrow as pa

    columns = {name: pa.array(column) for name, column in memory.items()}
    if "open_time" in columns:
        columns["open_time"] = columns["open_time"].view(pa.timestamp("ms", "UTC"))
    return columns
