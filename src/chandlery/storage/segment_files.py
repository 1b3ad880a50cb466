"""The form of a sealed month: one small Parquet file, from which every double comes back to the last bit.

Prices and volumes are decimals, so a column is kept as whole numbers and a scale, Parquet's ``DECIMAL`` in ``INT64``
with ``DELTA_BINARY_PACKED``. The scale is found by trying. A column that no scale can hold (more than 18 digits, minus
zero, tiny numbers) is kept as doubles. NaN is null. There is no general compression: it saved nothing and doubled the
time.

Any tool that reads Parquet reads these files: timestamps in milliseconds, and decimals.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.domain.candle import COLUMNS, VALUE_COLUMNS, BoolArray, CandleBatch, FloatArray
from chandlery.domain.timeframe import IntArray
from chandlery.storage.segment_layout import Description

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

Bytes = bytes | bytearray | memoryview
"""Or what else has a buffer, such as those of Arrow."""
Column = np.ndarray[Any, Any]
"""Milliseconds (int64) for ``open_time``, doubles for all others."""

_MOST_IN_GROUP = 7_440
"""A sixth of the longest month of minutes: no less is decoded, however short the wanted span is."""
_DIGITS = 18
"""As many as a whole number of 64 bits holds in any case, and as Parquet allows in one."""
_POWERS = 10.0 ** np.arange(_DIGITS + 1)
_SAMPLE = 64
_NAN_BITS = np.array([np.nan]).view(np.int64)[0]


def read_columns(segment: Description, data: Bytes, targets: Mapping[str, Column], rows: range) -> None:
    """Fill ``targets`` with ``rows`` of a file, at least one. Raises ValueError, or what Arrow raises."""
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    names = [name for name in targets if name != "open_time" or not segment.unbroken]
    with pa_parquet.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
        if (file.metadata.num_rows, file.num_row_groups) != (segment.rows, segment.groups):
            raise ValueError(
                f"{file.metadata.num_rows:,} candles in {file.num_row_groups} groups, not {segment.rows:,}"
            )
        for name in names:  # one after another, so that each is still in the processor's cache
            start, column = _read_column(segment, file, name, rows)
            _fill(targets[name], column.slice(rows.start - start, len(rows)))
    if "open_time" in targets and segment.step_ms is not None and segment.unbroken:
        times = range(segment.first, segment.last + 1, segment.step_ms)[rows.start : rows.stop]
        targets["open_time"][:] = np.arange(times.start, times.stop, times.step)


def _read_column(
    segment: Description, file: pa_parquet.ParquetFile, name: str, rows: range
) -> tuple[int, pa.ChunkedArray]:
    """The groups of a column that hold ``rows``, and the row with which they begin."""
    groups, number = segment.groups_of(rows), COLUMNS.index(name)
    if len(groups) == segment.groups:
        return 0, file.reader.read_column(number)  # a tenth faster than the other way
    table = file.reader.read_row_groups(list(groups), column_indices=[number], use_threads=False)
    return groups.start * segment.rows_of_group, table.column(0)


def _fill(target: Column, column: pa.ChunkedArray) -> None:
    """Copy one column out of Arrow's memory, decimals as doubles and null as NaN."""
    import pyarrow as pa

    start = 0
    for chunk in column.chunks:
        part = target[start : start + len(chunk)]
        if pa.types.is_decimal(chunk.type):
            # division gives the double nearest to the decimal; a product with 0.1 would not
            np.divide(_whole_numbers(chunk), _POWERS[chunk.type.scale], out=part)
            if chunk.null_count:
                part[chunk.is_null().to_numpy(zero_copy_only=False)] = np.nan
        else:
            part[:] = chunk.view(pa.int64()).to_numpy().view(part.dtype)
        start += len(chunk)


def _whole_numbers(decimals: pa.Array) -> IntArray:
    """A view of the lowest 64 bits of each decimal, which hold all 18 digits, whatever Arrow's width is."""
    width = decimals.type.byte_width // 8
    numbers = np.frombuffer(decimals.buffers()[1], np.int64)
    return numbers[decimals.offset * width : (decimals.offset + len(decimals)) * width : width]


def write_file(batch: CandleBatch) -> bytes:
    """The candles of ``batch``, at least one, as a file."""
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    times = pa.array(batch.open_time).view(pa.timestamp("ms", "UTC"))
    arrays = {"open_time": times} | {name: _packed(getattr(batch, name)) for name in VALUE_COLUMNS}
    fields = [pa.field(name, array.type, nullable=array.null_count > 0) for name, array in arrays.items()]
    table = pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(fields))
    doubles = {name for name, array in arrays.items() if pa.types.is_floating(array.type)}
    groups = -(-len(batch) // _MOST_IN_GROUP)
    file = io.BytesIO()
    pa_parquet.write_table(
        table,
        file,
        compression="none",
        use_dictionary=False,
        column_encoding={
            name: "BYTE_STREAM_SPLIT" if name in doubles else "DELTA_BINARY_PACKED" for name in table.column_names
        },
        store_decimal_as_integer=True,
        store_schema=False,
        row_group_size=-(-len(batch) // groups),
        write_statistics=["open_time"],
        write_page_checksum=True,
    )
    return file.getvalue()


def bounds_of(file: bytes) -> tuple[int, ...]:
    """Where the pieces of a file begin and end; its first four bytes belong to the first column."""
    import pyarrow.parquet as pa_parquet

    about = pa_parquet.read_metadata(io.BytesIO(file))
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    starts = [column.data_page_offset for column in columns]
    return (0, *starts[1:], starts[-1] + columns[-1].total_compressed_size, len(file))


def _packed(values: FloatArray) -> pa.Array:
    """The column as decimals if some scale holds every value, else as doubles."""
    import pyarrow as pa

    unknown = values.view(np.int64) == _NAN_BITS
    known = np.where(unknown, 0.0, values)
    for scale in range(_DIGITS + 1):
        if _scaled(known[:: max(1, len(known) // _SAMPLE)], scale) is not None:
            numbers = _scaled(known, scale)
            if numbers is not None:
                return _decimals(numbers, scale, unknown)
    return pa.array(values)


def _scaled(values: FloatArray, scale: int) -> IntArray | None:
    """The whole numbers that divided by ten to the power of ``scale`` are these doubles exactly, if there are any."""
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.rint(values * _POWERS[scale])
        if not np.all(np.abs(near) < 10.0**_DIGITS):
            return None
        numbers = near.astype(np.int64)
    same = (numbers / _POWERS[scale]).view(np.int64) == values.view(np.int64)
    return numbers if bool(same.all()) else None


def _decimals(numbers: IntArray, scale: int, unknown: BoolArray) -> pa.Array:
    import pyarrow as pa

    wide = np.stack([numbers, numbers >> 63], axis=1)  # 128 bits, of which the upper half repeats the sign
    validity = pa.py_buffer(np.packbits(~unknown, bitorder="little")) if unknown.any() else None
    kind = pa.decimal128(_DIGITS, scale)
    return pa.Array.from_buffers(kind, len(numbers), [validity, pa.py_buffer(wide)])
