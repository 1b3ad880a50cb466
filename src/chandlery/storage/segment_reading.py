"""Candles out of segments, many at once.

A decoder has its price a file and a call, which for a month of one column is more than the decoding. So the pages of
many segments are put together as one file, and each column of it is decoded in one call, in which other threads can
work. Of decimals it gives whole numbers, which are divided by the power of ten of their segment.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from chandlery.domain.candle import COLUMNS, BoolArray
from chandlery.domain.span import Span
from chandlery.domain.timeframe import IntArray
from chandlery.errors import DamagedDataError
from chandlery.storage.archived import ArchivedSegment
from chandlery.storage.parquet_footer import MAGIC, StoredColumn, footer
from chandlery.storage.segment_layout import rows_between
from chandlery.storage.segments import Bytes, Column, Columns, Segment

if TYPE_CHECKING:
    import pyarrow.parquet as pa_parquet

POWERS = np.array([float(10**scale) for scale in range(19)])
"""Of ten, exactly: the powers that numpy makes may differ between processors, and segments are read on any."""
_FOOTERS_REMEMBERED = 1_000
"""Of three kilobytes each."""


@dataclass(frozen=True, slots=True)
class Share:
    """The candles of ``segment`` that open in ``span``, wanted at the beginning of ``targets``.

    The targets are arrays by the names of columns, with room for ``most_rows_in(span)``.
    """

    segment: Segment
    targets: Columns
    span: Span


def read_together(shares: Sequence[Share]) -> list[int]:
    """Fill the targets of all ``shares``, and tell how many candles each has.

    Raises DamagedDataError if the bytes of any segment are not those that were written.
    """
    import pyarrow as pa

    try:
        parts = [_Part(share) for share in shares]
        stored = sorted((part for part in parts if part.count), key=attrgetter("stored"))
        for columns, alike in groupby(stored, attrgetter("stored")):
            if columns:  # the times may be all that is wanted, and known
                _read_alike(columns, [*alike])
    except MemoryError:  # Arrow's is one of its own errors too
        raise
    except (pa.ArrowException, OSError, ValueError, IndexError) as error:
        raise DamagedDataError(f"a segment is not as its description says: {error}") from error
    return [part.finish() for part in parts]


def decode(segment: Segment | ArchivedSegment, columns: Sequence[str] = COLUMNS) -> dict[str, Column]:
    """The columns asked for, as new arrays. Raises DamagedDataError, and StorageError if a file cannot be had."""
    arrays = {name: np.empty(segment.rows, np.int64 if name == "open_time" else np.float64) for name in columns}
    span = Span(segment.first, segment.last + 1)
    if isinstance(segment, ArchivedSegment):
        segment.read_into(arrays, span)
    else:
        read_together([Share(segment, arrays, span)])
    return arrays


@dataclass(frozen=True, slots=True, order=True)
class _Stored:
    """How a column stands in a file, as far as the decoder has to know."""

    number: int
    doubles: bool
    nullable: bool

    @property
    def name(self) -> str:
        return COLUMNS[self.number]


@dataclass(frozen=True, slots=True)
class _Form:
    """What the footer of a segment says."""

    rows: int
    bounds: tuple[int, ...]
    columns: tuple[_Stored, ...]
    scales: tuple[int, ...]


def bounds_in(about: pa_parquet.FileMetaData) -> tuple[int, ...]:
    """Where the pieces of a file begin, and the last one, its footer; its first bytes belong to the first column."""
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    starts = [column.data_page_offset for column in columns]
    return (0, *starts[1:], starts[-1] + columns[-1].total_compressed_size)


@lru_cache(_FOOTERS_REMEMBERED)
def _form(end_of_file: bytes) -> _Form:
    """Raises ValueError if these are not our columns."""
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    about = pa_parquet.read_metadata(io.BytesIO(end_of_file))
    schema = about.schema.to_arrow_schema()
    if tuple(schema.names) != COLUMNS:
        raise ValueError(f"the columns {', '.join(schema.names)}")
    return _Form(
        rows=about.num_rows,
        bounds=bounds_in(about),
        columns=tuple(_Stored(i, pa.types.is_floating(field.type), field.nullable) for i, field in enumerate(schema)),
        scales=tuple(field.type.scale if pa.types.is_decimal(field.type) else 0 for field in schema),
    )


class _Part:
    """What is read of one segment: whole groups of rows, of which the wanted ones go to the targets."""

    def __init__(self, share: Share) -> None:
        segment = self._segment = share.segment
        self._span, self._targets = share.span, share.targets
        self._pieces = segment.checked()
        self._form = _form(bytes(self._pieces[segment.all_pieces[-1]]))
        if (self._form.rows, self._form.bounds) != (segment.rows, segment.bounds[:-1]):
            raise ValueError(
                f"{self._form.rows:,} candles, or not where they should be; {segment.rows:,} are described"
            )
        self._rows = segment.rows_in(share.span)
        self._groups = segment.groups_read(share.span)
        self._start = self._groups.start * segment.rows_of_group
        self.count = segment.rows_read(share.span)
        names = segment.columns_read(share.targets, share.span)
        self.stored = [column for column in self._form.columns if column.name in names]

    def pages(self, number: int) -> list[memoryview]:
        """What is read of one column."""
        places = [group * len(COLUMNS) + number for group in self._groups]
        # the file begins in its first column
        return [self._pieces[place][0 if place else len(MAGIC) :] for place in places]

    def take(self, column: _Stored, values: IntArray, unknown: BoolArray | None) -> None:
        """Put one column where it is wanted: 64 bits a row, and which of them are null."""
        if self._rows is None:  # the times are the first
            self._rows = rows_between(values, self._span)
        if column.name not in self._targets:
            return
        rows = slice(self._rows.start - self._start, self._rows.stop - self._start)
        target = self._targets[column.name][: len(self._rows)]
        if column.doubles or column.name == "open_time":
            target.view(np.int64)[:] = values[rows]
        else:
            # division gives the double nearest to the decimal; a product with 0.1 would not
            np.divide(values[rows], POWERS[self._form.scales[column.number]], out=target)
        if unknown is not None:
            target[unknown[rows]] = np.nan

    def finish(self) -> int:
        """Add the times that are known without being read. Returns how many candles are wanted."""
        assert self._rows is not None, "without times the rows are known"
        segment = self._segment
        if "open_time" in self._targets and segment.step_ms is not None and segment.unbroken:
            times = range(segment.first, segment.last + 1, segment.step_ms)[self._rows.start : self._rows.stop]
            self._targets["open_time"][: len(times)] = np.arange(times.start, times.stop, times.step)
        return len(self._rows)


def _read_alike(columns: Sequence[_Stored], parts: Sequence[_Part]) -> None:
    """Decode ``columns`` of parts that have them stored in the same way."""
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    edges = [0, *accumulate(part.count for part in parts)]
    with pa_parquet.ParquetFile(pa.BufferReader(_one_file(columns, parts, edges[-1])), pre_buffer=False) as file:
        for place, column in enumerate(columns):  # one after another, so that each is still in the processor's cache
            values, unknown = _decoded(file, place, edges[-1])
            for part, (start, end) in zip(parts, pairwise(edges), strict=True):
                part.take(column, values[start:end], None if unknown is None else unknown[start:end])


def _one_file(columns: Sequence[_Stored], parts: Sequence[_Part], rows: int) -> Bytes:
    pages: list[Bytes] = []
    stored = []
    offset = 0
    for column in columns:
        of_column = [page for part in parts for page in part.pages(column.number)]
        size = sum(map(len, of_column))
        stored.append(
            StoredColumn(name=column.name, doubles=column.doubles, nullable=column.nullable, offset=offset, size=size)
        )
        pages += of_column
        offset += size
    return b"".join([*pages, footer(rows, stored)])


def _decoded(file: pa_parquet.ParquetFile, place: int, rows: int) -> tuple[IntArray, BoolArray | None]:
    """The 64 bits of each row of a column, and which of them are null if any is."""
    [array] = file.reader.read_column(place).chunks
    if len(array) != rows:
        raise ValueError(f"{len(array):,} rows where {rows:,} should be")
    values = np.frombuffer(array.buffers()[1], np.int64, rows)
    return values, array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
