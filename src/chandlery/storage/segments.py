"""The form of a sealed month: one small Parquet file, from which every double comes back to the last bit.

Prices and volumes are decimals, so a column is kept as whole numbers and a scale, Parquet's ``DECIMAL`` in ``INT64``
with ``DELTA_BINARY_PACKED``. The scale is found by trying, and proved: what is written is read again and compared bit
by bit before anybody may rely on it. A column that no scale can hold (more than 18 digits, minus zero, tiny numbers) is
kept as doubles. NaN is null. There is no general compression: it saved nothing and doubled the time.

Any tool that reads Parquet reads these files: timestamps in milliseconds, and decimals.
"""

from __future__ import annotations

import abc
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.domain.candle import COLUMNS, VALUE_COLUMNS, BoolArray, CandleBatch, FloatArray
from chandlery.domain.timeframe import IntArray, UtcMs
from chandlery.errors import DamagedDataError

if TYPE_CHECKING:
    import pyarrow as pa

Column = np.ndarray[Any, Any]
"""Milliseconds (int64) for ``open_time``, doubles for all others."""

_DIGITS = 18
"""As many as a whole number of 64 bits holds in any case, and as Parquet allows in one."""
_POWERS = 10.0 ** np.arange(_DIGITS + 1)
_SAMPLE = 64
_NAN_BITS = np.array([np.nan]).view(np.int64)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description(abc.ABC):
    """What is known of a segment without its bytes.

    Times are UTC milliseconds; ``step_ms`` is the length of a bar, None where bars differ in length. The file falls
    into pieces, one a column in the order of ``COLUMNS`` and the footer: piece ``i`` lies between ``bounds[i]`` and
    ``bounds[i + 1]``, and ``checksums[i]`` is its CRC-32.
    """

    rows: int
    first: UtcMs
    last: UtcMs
    step_ms: int | None
    bounds: tuple[int, ...]
    checksums: tuple[int, ...]

    @property
    def unbroken(self) -> bool:
        """Whether bar follows bar, so that the times are known without being read."""
        return self.step_ms is not None and self.last - self.first == (self.rows - 1) * self.step_ms

    @abc.abstractmethod
    def checked(self) -> bytes | bytearray | memoryview:
        """The file, proved to be what was written. Raises DamagedDataError."""

    def read_into(self, data: bytes | bytearray | memoryview, targets: Mapping[str, Column]) -> None:
        """Fill ``targets`` from the file. Raises ValueError or what Arrow raises if it is not as described."""
        _read_into(self, data, targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment(Description):
    """Candles of one series as one file; ``checksum`` is the CRC-32 of ``data``."""

    checksum: int
    data: bytes | memoryview

    def checked(self) -> bytes | memoryview:
        """The file. Raises DamagedDataError if the bytes are not those that were written."""
        _check(self.data, self.checksum)
        return self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class SomePieces(Description):
    """The same, of which only some pieces were fetched: those of the wanted columns, and the footer."""

    pieces: Mapping[int, bytes | memoryview]

    def checked(self) -> memoryview:
        """The file, with holes where nothing was fetched. Raises as ``Segment.checked`` does."""
        # a bytearray would touch every page of the holes
        file = np.zeros(self.bounds[-1], np.uint8)
        for number, piece in self.pieces.items():
            _check(piece, self.checksums[number])
            file[self.bounds[number] : self.bounds[number + 1]] = np.frombuffer(piece, np.uint8)
        return file.data


def pieces_of(columns: Iterable[str]) -> list[int]:
    """The numbers of the pieces that hold ``columns``; the times and the footer are small, and needed anyhow."""
    return sorted({0, len(COLUMNS), *(COLUMNS.index(name) for name in columns)})


def encode(batch: CandleBatch) -> Segment:
    """The candles of ``batch``, at least one, as a segment that is proved to give them back to the last bit."""
    data = _written(batch)
    bounds = _bounds(data)
    segment = Segment(
        rows=len(batch),
        first=int(batch.open_time[0]),
        last=int(batch.open_time[-1]),
        step_ms=batch.series.timeframe.step_ms,
        bounds=bounds,
        checksums=tuple(zlib.crc32(data[start:end]) for start, end in pairwise(bounds)),
        checksum=zlib.crc32(data),
        data=data,
    )
    for name, column in decode(segment).items():
        if not np.array_equal(column.view(np.int64), getattr(batch, name).view(np.int64)):
            raise AssertionError(f"the column {name} does not come back from its segment as it was")
    return segment


def decode(segment: Description, columns: Sequence[str] = COLUMNS) -> dict[str, Column]:
    """The columns asked for, as new arrays; raises as ``decode_into`` does."""
    arrays = {name: np.empty(segment.rows, np.int64 if name == "open_time" else np.float64) for name in columns}
    decode_into(segment, arrays)
    return arrays


def decode_into(segment: Description, targets: Mapping[str, Column]) -> None:
    """Fill ``targets``, arrays of ``segment.rows`` by the names of columns; other threads can work meanwhile.

    Raises DamagedDataError if the bytes are not those that were written.
    """
    import pyarrow as pa

    file = segment.checked()
    try:
        segment.read_into(file, targets)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedDataError(f"a segment is not as its description says: {error}") from error


def _check(data: bytes | memoryview, checksum: int) -> None:
    found = zlib.crc32(data)
    if found != checksum:
        raise DamagedDataError(f"a segment has the checksum {found:08x}, not {checksum:08x}.")


def _read_into(segment: Description, data: bytes | bytearray | memoryview, targets: Mapping[str, Column]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    names = [name for name in targets if name != "open_time" or not segment.unbroken]
    with pa_parquet.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
        if file.metadata.num_rows != segment.rows:
            raise ValueError(f"{file.metadata.num_rows:,} candles, not {segment.rows:,}")
        for name in names:  # one after another, so that each is still in the processor's cache
            _fill(targets[name], file.reader.read_column(COLUMNS.index(name)))
    if "open_time" in targets and segment.unbroken:
        targets["open_time"][:] = np.arange(segment.first, segment.last + 1, segment.step_ms)


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


def _written(batch: CandleBatch) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    times = pa.array(batch.open_time).view(pa.timestamp("ms", "UTC"))
    arrays = {"open_time": times} | {name: _packed(getattr(batch, name)) for name in VALUE_COLUMNS}
    fields = [pa.field(name, array.type, nullable=array.null_count > 0) for name, array in arrays.items()]
    table = pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(fields))
    doubles = {name for name, array in arrays.items() if pa.types.is_floating(array.type)}
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
        write_statistics=["open_time"],
        write_page_checksum=True,
    )
    return file.getvalue()


def _bounds(file: bytes) -> tuple[int, ...]:
    """Where the pieces of a file begin and end; its first four bytes belong to the first column."""
    import pyarrow.parquet as pa_parquet

    group = pa_parquet.read_metadata(io.BytesIO(file)).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
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
