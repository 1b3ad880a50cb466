"""The third tier: months of candles as Parquet files outside of the database, for DuckDB, Spark and others, and for us.

A file has the columns of an export, all doubles: other programs read many files as one table, and that takes the same
types in all of them. Segments are less than half the size, but every one has scales of its own.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from chandlery.domain.candle import COLUMNS, FIELDS, CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.errors import DamagedDataError
from chandlery.storage import archive_places
from chandlery.storage.partitions import table_name
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.segment_layout import Description, rows_between
from chandlery.storage.segments import Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa

_FIELD_OF = dict(zip(COLUMNS, FIELDS, strict=True))


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file by its name (a path or ``s3://bucket/key``), its size in bytes, and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str

    def fetched(self) -> bytes:
        """What stands in it. Raises ArchiveUnavailable if it cannot be had, DamagedDataError if it is another."""
        data = archive_places.fetch(self.name, self.size)
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise DamagedDataError(f"{self.name} has the SHA-256 {found[:16]}..., not {self.sha256[:16]}....")
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSegment(Description):
    """A sealed span whose bytes are in a file alone."""

    file: ArchiveFile

    def read_into(self, targets: Columns, span: Span) -> int:
        """Begin ``targets``, arrays by the names of columns, with the candles that open in ``span``; returns how many.

        Each has room for ``most_rows_in(span)``. Raises DamagedDataError, and ArchiveUnavailable.
        """
        import pyarrow as pa
        import pyarrow.parquet as pa_parquet

        data = self.file.fetched()
        try:
            table = pa_parquet.read_table(
                pa.BufferReader(data), columns=[_FIELD_OF[name] for name in {*targets, "open_time"}], use_threads=False
            )
            if table.num_rows != self.rows:
                raise ValueError(f"{table.num_rows:,} candles, not {self.rows:,}")
            rows = rows_between(_column(table, "open_time"), span)
            expected = self.rows_in(span)
            if expected is not None and rows != expected:
                raise ValueError(
                    f"candles {rows.start:,} to {rows.stop:,} open then, not {expected.start:,} to {expected.stop:,}"
                )
            for name, target in targets.items():
                target[: len(rows)] = _column(table, name)[rows.start : rows.stop]
        except MemoryError:  # Arrow's is one of its own errors too
            raise
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise DamagedDataError(f"{self.file.name} is not as its description says: {error}") from error
        return len(rows)


def folder_of(place: str, series: Series) -> str:
    """Where the files of a series stand in ``place``; ``1M`` is ``1mo``, as some disks fold case."""
    folders = {
        "exchange": quote(series.exchange, safe=""),
        "timeframe": table_name(series.timeframe).removeprefix("candle_"),
        "symbol": quote(series.symbol, safe=""),
    }
    path = "/".join(f"{key}={value}" for key, value in folders.items())
    return f"{place}/{path}"


def file_name(place: str, series: Series, unit: Span) -> str:
    """Where the candles of a sealed span stand in ``place`` if nothing else was ever there."""
    return f"{folder_of(place, series)}/{to_datetime(unit.start):%Y-%m}.parquet"


def file_of(folder: str, unit: Span, data: bytes) -> ArchiveFile:
    """The file of a sealed span with ``data`` in it. Other bytes have another name, so no file is ever overwritten."""
    sha256 = hashlib.sha256(data).hexdigest()
    return ArchiveFile(f"{folder}/{to_datetime(unit.start):%Y-%m}.{sha256[:16]}.parquet", len(data), sha256)


def encoded(candles: CandleBatch) -> bytes:
    """A file of candles."""
    import pyarrow.parquet as pa_parquet

    from chandlery.storage.candle_files import candle_table

    file = io.BytesIO()
    pa_parquet.write_table(candle_table(candles), file, compression="zstd")
    return file.getvalue()


def decoded(series: Series, data: bytes) -> CandleBatch:
    """The candles of a file. Raises DamagedDataError."""
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    try:
        table = pa_parquet.read_table(pa.BufferReader(data), use_threads=False)
        return CandleBatch.of(series, {name: _column(table, name) for name in COLUMNS})
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DamagedDataError(f"a file of {series} is not as it was written: {error}") from error


def _column(table: pa.Table, name: str) -> Column:
    import pyarrow as pa

    column = table.column(_FIELD_OF[name])
    values: Column = (column.cast(pa.int64()) if name == "open_time" else column).to_numpy()
    return values
