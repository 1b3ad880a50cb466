"""Sealed months as they are kept and read: a file, its checksums, and the proof that it holds what was sealed.

What is written is read again and compared bit by bit before anybody may rely on it, and nothing is decoded whose
checksum was not verified.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from isal.isal_zlib import crc32

from chandlery.domain.candle import COLUMNS, CandleBatch
from chandlery.domain.span import Span
from chandlery.errors import DamagedDataError
from chandlery.storage.segment_files import Bytes, Column, bounds_of, read_columns, write_file
from chandlery.storage.segment_layout import Description


class Held(Description, abc.ABC):
    """A segment whose bytes can be had."""

    __slots__ = ()

    @abc.abstractmethod
    def checked(self) -> Bytes:
        """The file, proved to be what was written. Raises DamagedDataError."""

    def read_into(self, data: Bytes, targets: Mapping[str, Column], rows: range) -> None:
        """Fill ``targets`` from the file. Raises ValueError or what Arrow raises if it is not as described."""
        read_columns(self, data, targets, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment(Held):
    """Candles of one series as one file."""

    data: Bytes

    def checked(self) -> Bytes:
        """The file. Raises DamagedDataError if the bytes are not those that were written."""
        _check(self.data, self.checksum)
        return self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class SomePieces(Held):
    """The same, of which only some runs of pieces were fetched: what ``pieces_of`` says."""

    runs: Sequence[tuple[range, Bytes]]

    def checked(self) -> Bytes:
        """The file, with holes where nothing was fetched. Raises as ``Segment.checked`` does."""
        # a bytearray would touch every page of the holes
        file = np.zeros(self.bounds[-1], np.uint8)
        for run, data in self.runs:
            start, end = self.bounds[run.start], self.bounds[run.stop]
            file[start:end] = np.frombuffer(data, np.uint8)
            for piece in run:
                _check(file[self.bounds[piece] : self.bounds[piece + 1]].data, self.checksums[piece])
        return file.data


def encode(batch: CandleBatch) -> Segment:
    """The candles of ``batch``, at least one, as a segment that is proved to give them back to the last bit."""
    data = write_file(batch)
    bounds = bounds_of(data)
    segment = Segment(
        rows=len(batch),
        first=int(batch.open_time[0]),
        last=int(batch.open_time[-1]),
        step_ms=batch.series.timeframe.step_ms,
        bounds=bounds,
        checksums=tuple(crc32(data[start:end]) for start, end in pairwise(bounds)),
        checksum=crc32(data),
        data=data,
    )
    for name, column in decode(segment).items():
        if not np.array_equal(column.view(np.int64), getattr(batch, name).view(np.int64)):
            raise AssertionError(f"the column {name} does not come back from its segment as it was")
    return segment


def decode(segment: Held, columns: Sequence[str] = COLUMNS) -> dict[str, Column]:
    """The columns asked for, as new arrays; raises as ``decode_into`` does."""
    arrays = {name: np.empty(segment.rows, np.int64 if name == "open_time" else np.float64) for name in columns}
    decode_into(segment, arrays, Span(segment.first, segment.last + 1))
    return arrays


def decode_into(segment: Held, targets: Mapping[str, Column], span: Span) -> int:
    """Begin ``targets``, arrays by the names of columns, with the candles that open in ``span``. Returns how many.

    Each has room for ``most_rows_in(span)``. Other threads can work meanwhile. Raises DamagedDataError if the bytes
    are not those that were written.
    """
    import pyarrow as pa

    file = segment.checked()
    try:
        rows = segment.rows_in(span)
        if rows is None:
            rows = _rows_by_times(segment, file, span)
        if rows:
            segment.read_into(file, {name: target[: len(rows)] for name, target in targets.items()}, rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedDataError(f"a segment is not as its description says: {error}") from error
    return len(rows)


def _rows_by_times(segment: Held, file: Bytes, span: Span) -> range:
    times = np.empty(segment.rows, np.int64)
    segment.read_into(file, {"open_time": times}, range(segment.rows))
    return range(*np.searchsorted(times, [span.start, span.end]).tolist())


def _check(data: Bytes, checksum: int) -> None:
    found = crc32(data)
    if found != checksum:
        raise DamagedDataError(f"a segment has the checksum {found:08x}, not {checksum:08x}.")
