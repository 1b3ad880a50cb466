"""CSV files as they are: of ours or of others, damaged or not, with the columns in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from chandlery.domain.candle import COLUMNS, CandleRows
from chandlery.domain.instrument import Series
from chandlery.errors import DataValidationError, StorageError

_BLOCK_BYTES = 16 << 20
_HINT = "Name its columns in order with --columns."


def read_file(
    path: Path, series: Series, columns: Sequence[str] = (), *, whole_lines: bool = False
) -> tuple[CandleRows, int]:
    """The rows of a file, compressed or not, as far as they can be read, and how many could not.

    ``columns`` names them in their order, for a file without a header; a name that no candle has is passed over.
    ``whole_lines`` leaves out what follows the last newline: in our own files that is no line. Text is read some
    megabytes at a time, so that only numbers stay in memory. Raises StorageError and DataValidationError.
    """
    try:
        try:
            return _read(path, series, columns, whole_lines, types=None)
        except pa.ArrowInvalid:  # a value is not of its column's type: take all as text, and judge value by value
            return _read(path, series, columns, whole_lines, types=pa.string())
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.", hint="Look at its name.") from error
    except pa.ArrowInvalid as error:
        raise DataValidationError(f"{path} is no table: {str(error).splitlines()[0]}", hint=_HINT) from error
    except DataValidationError as error:
        raise DataValidationError(f"{path}: {error}", hint="" if columns else _HINT) from error


def _read(
    path: Path, series: Series, columns: Sequence[str], whole_lines: bool, types: pa.DataType | None
) -> tuple[CandleRows, int]:
    from chandlery.storage.intake.frames import rows_from_frame

    refused: list[int] = []
    pieces = []
    for batch in _batches(path, columns, whole_lines, types, refused):
        read = rows_from_frame(batch.to_pandas(), series)
        refused.append(len(read.rejected))
        pieces.append(read.rows)
    joined = {name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in COLUMNS} if pieces else {}
    return CandleRows.of(series, joined) if pieces else CandleRows.empty(series), sum(refused)


def _batches(
    path: Path, columns: Sequence[str], whole_lines: bool, types: pa.DataType | None, refused: list[int]
) -> Iterator[Any]:
    """The lines as Arrow batches; those with too few or too many values are counted in ``refused``."""

    def refuse(_: Any) -> str:
        refused.append(1)
        return "skip"

    names = list(columns) or _header(path)
    yield from pacsv.open_csv(
        pa.BufferReader(_whole_lines(path)) if whole_lines else _opened(path),
        pacsv.ReadOptions(block_size=_BLOCK_BYTES, column_names=names, skip_rows=0 if columns else 1),
        pacsv.ParseOptions(invalid_row_handler=refuse),
        pacsv.ConvertOptions(column_types=dict.fromkeys(names, types) if types else None),
    )


def _header(path: Path) -> list[str]:
    with _opened(path) as file:
        return [name.strip(' "\r') for name in file.read(4_096).decode(errors="replace").split("\n", 1)[0].split(",")]


def _opened(path: Path) -> Any:
    """The text in a file, unpacked; by itself Arrow knows no suffix in capital letters."""
    return pa.input_stream(str(path), compression={".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower()))


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]
