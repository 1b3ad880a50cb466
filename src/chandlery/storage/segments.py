"""A sealed span with the bytes of its file, none of which is looked at before it is proved to be what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from isal.isal_zlib import crc32

from chandlery.errors import DamagedDataError
from chandlery.storage.segment_layout import Description

Bytes = bytes | bytearray | memoryview
"""Or what else has a buffer, such as those of Arrow."""
Column = np.ndarray[Any, Any]
"""Milliseconds (int64) for ``open_time``, doubles for all others."""
Columns = Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment(Description):
    """Candles of one series with runs of pieces of their file: one run of all, or those that ``pieces_of`` names."""

    runs: Sequence[tuple[range, Bytes]]

    @property
    def file(self) -> Bytes:
        """The whole file. Raises ValueError if pieces of it are missing."""
        [(run, data)] = self.runs
        if run != self.all_pieces:
            raise ValueError(f"pieces {run.start} to {run.stop} alone are no file")
        return data

    def checked(self) -> dict[int, memoryview]:
        """The pieces by their numbers. Raises DamagedDataError if they are not those that were written."""
        if self.runs[0][0] == self.all_pieces:
            _check(self.file, self.checksum)
            return self._pieces()
        pieces = self._pieces()
        for number, piece in pieces.items():
            _check(piece, self.checksums[number])
        return pieces

    def _pieces(self) -> dict[int, memoryview]:
        pieces: dict[int, memoryview] = {}
        for run, data in self.runs:
            view, start = memoryview(data), self.bounds[run.start]
            pieces |= {number: view[self.bounds[number] - start : self.bounds[number + 1] - start] for number in run}
        return pieces


def _check(data: Bytes, checksum: int) -> None:
    found = crc32(data)
    if found != checksum:
        raise DamagedDataError(f"a segment has the checksum {found:08x}, not {checksum:08x}.")
