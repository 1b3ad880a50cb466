"""Which candles lie where: sealed spans in segments or archived files, everything else in rows, each candle once.

One statement tells what is sealed of all series, one a gap between gives the rows, and one the bytes of all segments,
which come one after another so that the first are decoded while the rest is on its way. All of one read see the same
moment: nothing that is sealed or unsealed meanwhile is missed or seen twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from psycopg import sql

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.storage.archived import ArchivedSegment, ArchiveFile
from chandlery.storage.arrow_link import Statements
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.segment_layout import Description
from chandlery.storage.segments import Bytes, Segment
from chandlery.storage.sql import query

if TYPE_CHECKING:
    import pyarrow as pa

Numbered = tuple[int | None, Series]
"""A series, and the number of its instrument if it has one."""
Place = tuple[Series, Span]
"""One sealed span of a series."""

_BYTES_AT_ONCE = 500_000
"""About a month of minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPart:
    """A sealed span in which some of the wanted candles lie."""

    instrument_id: int
    series: Series
    unit: Span
    rows_kept: bool
    segment: Description


def find_parts(
    statements: Statements, wanted: Sequence[Numbered], span: Span, columns: Sequence[str], passed_over: Set[Place]
) -> list[list[SegmentPart | pa.Table]]:
    """For each series what holds its candles in ``span``, in order: rows, and of segments what is known of them.

    Of segments ``passed_over`` the rows are read.
    """
    found: list[list[SegmentPart | pa.Table]] = []
    sealed = _sealed(statements, wanted, span)
    for (instrument_id, series), all_of_it in zip(wanted, sealed, strict=True):
        used = [part for part in all_of_it if not (part.rows_kept and (series, part.unit) in passed_over)]
        gaps = Spans([span]) - Spans(part.unit for part in used)
        rows = [(gap.start, statements.table(_rows_statement(instrument_id, series, gap, columns))) for gap in gaps]
        in_order = sorted([*rows, *((part.unit.start, part) for part in used)], key=lambda pair: pair[0])
        found.append([part for _, part in in_order])
    return found


def fetch_segments(
    statements: Statements, parts: Sequence[SegmentPart], span: Span, columns: Sequence[str]
) -> Iterator[Segment]:
    """The segments of ``parts``, none of them archived, with the bytes that ``columns`` in ``span`` take, in order."""
    if not parts:
        return
    runs = [part.segment.pieces_of(columns, span) for part in parts]
    batches = statements.batches(_bytes_statement(parts, runs), _BYTES_AT_ONCE)
    data = (value.as_buffer() for batch in batches for value in batch.column(0))
    for part, of_part in zip(parts, runs, strict=True):
        yield with_bytes(part.segment, list(zip(of_part, islice(data, len(of_part)), strict=True)))


def with_bytes(segment: Description, runs: Sequence[tuple[range, Bytes]]) -> Segment:
    """``segment`` with runs of its pieces."""
    about: dict[str, Any] = {field.name: getattr(segment, field.name) for field in fields(Description)}
    return Segment(**about, runs=runs)


def _bytes_statement(parts: Sequence[SegmentPart], runs: Sequence[Sequence[range]]) -> str:
    slices = [
        (number, segment.bounds[run.start] + 1, segment.bounds[run.stop] - segment.bounds[run.start])
        for number, (segment, of_part) in enumerate(zip((part.segment for part in parts), runs, strict=True), start=1)
        for run in of_part
    ]
    numbers, first_bytes, lengths = zip(*slices, strict=True)
    return query(
        "segment_bytes",
        instruments=_listed(part.instrument_id for part in parts),
        timeframes=_listed(part.series.timeframe.name for part in parts),
        starts=sql.Literal([to_datetime(part.unit.start) for part in parts]),
        numbers=_listed(numbers),
        first_bytes=_listed(first_bytes),
        lengths=_listed(lengths),
    ).as_string()


def _listed(values: Iterable[object]) -> sql.Literal:
    """An array as text, which is made in a tenth of the time; none of ``values`` needs quotes."""
    return sql.Literal("{" + ",".join(map(str, values)) + "}")


def _sealed(statements: Statements, wanted: Sequence[Numbered], span: Span) -> list[list[SegmentPart]]:
    """For each series its sealed spans that overlap ``span``."""
    statement = query(
        "segments",
        instruments=_listed(-1 if number is None else number for number, _ in wanted),
        timeframes=_listed(series.timeframe.name for _, series in wanted),
        start=sql.Literal(to_datetime(span.start)),
        end=sql.Literal(to_datetime(span.end)),
    )
    found: list[list[SegmentPart]] = [[] for _ in wanted]
    for row in _rows(statements.table(statement.as_string())):
        series = wanted[row["number"] - 1][1]
        part = SegmentPart(
            instrument_id=row["instrument_id"],
            series=series,
            unit=Span(row["start_ms"], row["end_ms"]),
            rows_kept=row["rows_kept"],
            segment=described(series, row),
        )
        found[row["number"] - 1].append(part)
    return found


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """As ``to_pylist`` gives them, which would take longer for the lists than the server does for all."""
    lists = {name: _lists(table[name]) for name in ("bounds", "checksums")}
    for number, row in enumerate(table.drop_columns(list(lists)).to_pylist()):
        yield row | {name: column[number] for name, column in lists.items()}


def _lists(column: pa.ChunkedArray) -> list[list[int]]:
    chunks = ((chunk.values.to_numpy().tolist(), chunk.offsets.to_numpy().tolist()) for chunk in column.chunks)
    return [values[start:end] for values, ends in chunks for start, end in pairwise(ends)]


def described(series: Series, row: Mapping[str, Any]) -> Description | ArchivedSegment:
    """The segment of which ``row`` has all columns but the bytes."""
    about: dict[str, Any] = {
        "rows": row["candles"],
        "first": row["first_ms"],
        "last": row["last_ms"],
        "step_ms": series.timeframe.step_ms,
        "bounds": tuple(row["bounds"]),
        "checksums": tuple(row["checksums"]),
        "checksum": row["checksum"],
    }
    if row["archived"]:
        file = ArchiveFile(row["archive_file"], row["archive_bytes"], row["archive_sha256"])
        return ArchivedSegment(**about, file=file)
    return Description(**about)


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
