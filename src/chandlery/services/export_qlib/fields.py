"""From candles to Qlib's columns: dense on the calendar, float32, NaN where there is no candle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chandlery.domain.candle import CandleBatch, FloatArray
from chandlery.domain.timeframe import IntArray
from chandlery.services.export_qlib.layout import FLOAT

FloatColumn = npt.NDArray[np.float32]

_STORED = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "base_volume",
    "amount": "quote_volume",
}
FIELDS = (*_STORED, "vwap", "change", "factor")
"""``volume`` is in the base currency, ``amount`` in the quote currency; prices are never adjusted, so factor is 1."""


@dataclass(slots=True)
class Columns:
    """Turns the candles of one series into columns, piece after piece; ``change`` needs the close before a piece."""

    _last_close: float = float("nan")

    def of(self, batch: CandleBatch) -> dict[str, FloatArray]:
        """A value a candle for each field, still in double precision. Pieces must come in order."""
        columns = {name: getattr(batch, stored) for name, stored in _STORED.items()}
        columns["vwap"] = _vwap(batch)
        columns["change"] = self._change(batch.close)
        columns["factor"] = np.ones(len(batch))
        return columns

    def _change(self, close: FloatArray) -> FloatArray:
        """To the candle before, over a hole too, as Qlib's own collectors have it; unknown for the first."""
        before = np.concatenate(([self._last_close], close[:-1]))[: len(close)]
        if len(close):
            self._last_close = float(close[-1])
        return close / before - 1.0


def _vwap(batch: CandleBatch) -> FloatArray:
    """Turnover by volume; the close where nothing was traded; NaN where the turnover is not known."""
    traded = batch.base_volume > 0
    divisor = np.where(traded, batch.base_volume, 1.0)
    price: FloatArray = np.where(traded, batch.quote_volume / divisor, batch.close)
    return price


def dense(values: FloatArray, rows: IntArray, length: int) -> FloatColumn:
    """Values at their rows of a column of float32, NaN everywhere else."""
    column = np.full(length, np.nan, dtype=FLOAT)
    # a turnover in a currency of tiny value may be beyond float32: then it is infinite, and told as a loss
    with np.errstate(over="ignore"):
        column[rows] = values
    return column


@dataclass(slots=True)
class Losses:
    """What float32 cost: the largest relative error of each field so far, 0 to 1."""

    worst: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FIELDS, 0.0))

    def see(self, columns: Mapping[str, FloatArray]) -> None:
        """Look at what is about to be rounded."""
        for name, exact in columns.items():
            if name != "factor":
                self.worst[name] = max(self.worst[name], _largest_error(exact))

    def merge(self, other: Losses) -> None:
        """Take over the losses of another series."""
        self.worst = {name: max(mine, other.worst[name]) for name, mine in self.worst.items()}


def _largest_error(exact: FloatArray) -> float:
    known = exact[np.isfinite(exact) & (exact != 0)]
    if not len(known):
        return 0.0
    with np.errstate(over="ignore"):
        kept = known.astype(FLOAT)
    lost = np.abs(kept.astype(np.float64) - known) / np.abs(known)
    return float(min(1.0, lost.max()))
