"""The form of a sealed month: one small Parquet file, from which every double comes back to the last bit.

Prices and volumes are decimals, so a column is kept as whole numbers and a scale, Parquet's ``DECIMAL`` in ``INT64``
with ``DELTA_BINARY_PACKED``. The scale is found by trying. A column that no scale can hold (more than 18 digits, minus
zero, tiny numbers) is kept as doubles. NaN is null. There is no general compression: it saved nothing and doubled the
time.

Any tool that reads Parquet reads these files: timestamps in milliseconds, and decimals.
"""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from isal.isal_zlib import crc32

from chandlery.domain.candle import VALUE_COLUMNS, BoolArray, CandleBatch, FloatArray
from chandlery.domain.timeframe import IntArray
from chandlery.storage.segment_reading import POWERS, bounds_in, decode
from chandlery.storage.segments import Segment

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_IN_GROUP = 7_440
"""A sixth of the longest month of minutes: no less is decoded, however short the wanted span is."""
_DIGITS = 18
"""As many as a whole number of 64 bits holds in any case, and as Parquet allows in one."""
_SAMPLE = 64
_NAN_BITS = np.array([np.nan]).view(np.int64)[0]


def encode(batch: CandleBatch) -> Segment:
    """The candles of ``batch``, at least one, as a segment that is proved to give them back to the last bit."""
    import pyarrow.parquet as pa_parquet

    data = _file(batch)
    bounds = (*bounds_in(pa_parquet.read_metadata(io.BytesIO(data))), len(data))
    checksums = tuple(crc32(data[start:end]) for start, end in pairwise(bounds))
    segment = Segment(
        rows=len(batch),
        first=int(batch.open_time[0]),
        last=int(batch.open_time[-1]),
        step_ms=batch.series.timeframe.step_ms,
        bounds=bounds,
        checksums=checksums,
        checksum=crc32(data),
        runs=[(range(len(checksums)), data)],
    )
    for name, column in decode(segment).items():
        if not np.array_equal(column.view(np.int64), getattr(batch, name).view(np.int64)):
            raise AssertionError(f"the column {name} does not come back from its segment as it was")
    return segment


def _file(batch: CandleBatch) -> bytes:
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
        near = np.rint(values * POWERS[scale])
        if not np.all(np.abs(near) < 10.0**_DIGITS):
            return None
        numbers = near.astype(np.int64)
    same = (numbers / POWERS[scale]).view(np.int64) == values.view(np.int64)
    return numbers if bool(same.all()) else None


def _decimals(numbers: IntArray, scale: int, unknown: BoolArray) -> pa.Array:
    import pyarrow as pa

    wide = np.stack([numbers, numbers >> 63], axis=1)  # 128 bits, of which the upper half repeats the sign
    validity = pa.py_buffer(np.packbits(~unknown, bitorder="little")) if unknown.any() else None
    kind = pa.decimal128(_DIGITS, scale)
    return pa.Array.from_buffers(kind, len(numbers), [validity, pa.py_buffer(wide)])
