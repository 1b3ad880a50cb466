"""Proof of what was written: read back as Qlib would, by time and not by row, and compared with the database."""

from __future__ import annotations

import numpy as np

from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span
from chandlery.errors import StorageError
from chandlery.services.export_qlib.reading import QlibFolder, Values

_STORED = (
    ("open", "open"),
    ("high", "high"),
    ("low", "low"),
    ("close", "close"),
    ("volume", "base_volume"),
    ("amount", "quote_volume"),
)
_TOLERANCE = 1e-6
_SMALLEST = 1e-30
"""Below this float32 has few digits left."""


class Proof:
    """Compares the pieces of one series with its files, in order, while both are at hand."""

    def __init__(self, folder: QlibFolder, symbol: str, freq: str) -> None:
        self._folder = folder
        self._symbol = symbol
        self._freq = freq
        self._last_close = np.float32(np.nan)

    def check(self, batch: CandleBatch, span: Span) -> None:
        """Compare the rows of ``span`` with its candles. Raises StorageError for the first field that differs."""
        times = self._folder.calendar(self._freq)
        first, end = np.searchsorted(times, np.array([span.start, span.end]).astype("M8[ms]"))
        rows = np.searchsorted(times, batch.open_time.astype("M8[ms]"))
        if not np.array_equal(times[np.minimum(rows, len(times) - 1)], batch.open_time.astype("M8[ms]")):
            raise self._differs("the calendar")
        for field, stored in _STORED:
            expected = np.full(int(end - first), np.nan, dtype=np.float32)
            with np.errstate(over="ignore"):
                expected[rows - first] = getattr(batch, stored)
            if not np.array_equal(self._read(field, int(first), int(end)), expected, equal_nan=True):
                raise self._differs(f"${field}")
        self._check_derived(rows - first, int(first), int(end))

    def check_length(self, rows: int) -> None:
        """All fields must begin at the same row and have as many values."""
        for field, _ in (*_STORED, ("vwap", ""), ("change", ""), ("factor", "")):
            if self._folder.length(self._symbol, field, self._freq) != rows:
                raise self._differs(f"the length of ${field}")

    def _check_derived(self, rows: np.ndarray, first: int, end: int) -> None:
        """What is computed, computed anew from what was read back; nothing may stand in a gap."""
        read = {
            name: self._read(name, first, end) for name in ("close", "volume", "amount", "vwap", "change", "factor")
        }
        here = {name: values[rows] for name, values in read.items()}
        for name in ("vwap", "change", "factor"):
            if np.count_nonzero(~np.isnan(read[name])) != np.count_nonzero(~np.isnan(here[name])):
                raise self._differs(f"${name} in a gap")
        traded = here["volume"] > 0
        with np.errstate(all="ignore"):
            vwap = np.where(traded, here["amount"] / here["volume"], here["close"])
            change = here["close"] / np.concatenate(([self._last_close], here["close"]))[: len(rows)] - 1
        if len(rows):
            self._last_close = here["close"][-1]
        near = _near(here["vwap"], vwap) and _near(here["change"], change, of=1.0)
        if not (near and np.all(here["factor"] == 1)):
            raise self._differs("$vwap, $change or $factor")

    def _read(self, field: str, first: int, end: int) -> Values:
        return self._folder.feature(self._symbol, field, self._freq, first, end)

    def _differs(self, what: str) -> StorageError:
        return StorageError(
            f"{what} of {self._symbol} in {self._freq} was not read back as it is in the database.",
            hint="Nothing was replaced. Look at the disk, and export again.",
        )


def _near(read: Values, expected: Values, of: float = 0.0) -> bool:
    """Equal as far as float32 allows, relative to the value or to ``of``; what it cannot hold is not judged."""
    judged = np.isfinite(read) & np.isfinite(expected)
    return bool(np.allclose(read[judged], expected[judged], rtol=_TOLERANCE, atol=_TOLERANCE * of + _SMALLEST))
