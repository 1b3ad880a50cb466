"""Candles in files for other programs: CSV in our own format, Parquet, Arrow; exact, in pieces, and whole or not there.

A file is written aside, flushed, and renamed: whoever looks sees the old one or the new one, never half of one.
Times are UTC instants, the opens of the bars; a quote volume that is not told is null.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import pyarrow as pa

from chandlery.domain.candle import COLUMNS, FIELDS, CandleBatch
from chandlery.errors import StorageError
from chandlery.storage.csv_format import HEADER, encode

FileFormat = Literal["csv", "parquet", "arrow", "freqtrade"]

SCHEMA = pa.schema(
    [
        pa.field(FIELDS[0], pa.timestamp("ms", "UTC"), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in FIELDS[1:-1]),
        pa.field(FIELDS[-1], pa.float64()),
    ]
)
"""The columns of Parquet and Arrow files: those of the CSV files, with their types."""

_FREQTRADE_SCHEMA = pa.schema([SCHEMA.field(0).with_name("date"), *list(SCHEMA)[1:-1]])


class _Sheet(Protocol):
    """A file of one format that is being written."""

    def add(self, batch: CandleBatch) -> None:
        """Write candles that follow those before."""
        ...

    def close(self) -> None:
        """Write what belongs at the end."""
        ...


def write_file(path: Path, kind: FileFormat, batches: Iterable[CandleBatch]) -> tuple[int, int]:
    """Put batches that follow one another in time into one new file; how many candles and bytes it has.

    Nothing is left behind if it fails, or if there is no candle. Raises StorageError.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as file:
            with contextlib.closing(_SHEETS[kind](file)) as sheet:
                for batch in batches:
                    sheet.add(batch)
                    count += len(batch)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if count:
            new.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Look at the disk and the permissions."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
    return count, size


def candle_table(batch: CandleBatch) -> pa.Table:
    """A batch as an Arrow table of ``SCHEMA``; the columns of doubles are not copied."""
    times = pa.array(batch.open_time, pa.int64()).cast(SCHEMA.field(0).type)
    values = [pa.array(getattr(batch, name)) for name in COLUMNS[1:-1]]
    quote = pa.array(batch.quote_volume, from_pandas=True)
    return pa.Table.from_arrays([times, *values, quote], schema=SCHEMA)


class _CsvSheet:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.write(HEADER)

    def add(self, batch: CandleBatch) -> None:
        self._file.write(encode(batch))

    def close(self) -> None:
        """Every line is written."""


class _ParquetSheet:
    """A row group a batch; statistics of times let readers skip what they do not want."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow.parquet as pa_parquet

        self._writer = pa_parquet.ParquetWriter(file, SCHEMA, compression="zstd")

    def add(self, batch: CandleBatch) -> None:
        self._writer.write_table(candle_table(batch))

    def close(self) -> None:
        self._writer.close()


class _ArrowSheet:
    """Not compressed, so that it can be mapped into memory; also called Feather, version 2."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = pa.ipc.new_file(file, SCHEMA)

    def add(self, batch: CandleBatch) -> None:
        self._writer.write_table(candle_table(batch))

    def close(self) -> None:
        self._writer.close()


class _FreqtradeSheet:
    """What freqtrade's own data handler writes: Feather, packed with lz4, its columns and no others."""

    def __init__(self, file: BinaryIO) -> None:
        packed = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(file, _FREQTRADE_SCHEMA, options=packed)

    def add(self, batch: CandleBatch) -> None:
        columns = candle_table(batch).columns[:-1]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=_FREQTRADE_SCHEMA))

    def close(self) -> None:
        self._writer.close()


_SHEETS: dict[FileFormat, Callable[[BinaryIO], _Sheet]] = {
    "csv": _CsvSheet,
    "parquet": _ParquetSheet,
    "arrow": _ArrowSheet,
    "freqtrade": _FreqtradeSheet,
}
