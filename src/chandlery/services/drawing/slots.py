"""What a chart draws: slots of equal width, each a bar or several, NaN where there is no candle; and its scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import numpy as np

from chandlery.domain.candle import CandleBatch, FloatArray
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, IntArray, UtcMs

_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
_MONTH_DAYS = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Columns of one length; ``time`` is when the first bar of a slot opens. Prices are NaN where nothing is stored."""

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    @classmethod
    def newest(cls, candles: CandleBatch, most: int) -> Self:
        """The newest bars, one a slot, at most so many."""
        return cls._of(candles, _last_bars(candles, most), 1)

    @classmethod
    def all(cls, candles: CandleBatch, most: int) -> Self:
        """All candles, in as many slots as fit, each of so many bars as it must be."""
        grid = _last_bars(candles, None)
        return cls._of(candles, grid, max(1, math.ceil(len(grid) / most)))

    @classmethod
    def _of(cls, candles: CandleBatch, grid: IntArray, bars: int) -> Self:
        kept = candles.take(candles.open_time >= grid[0]) if len(grid) else candles
        slot = np.searchsorted(grid, kept.open_time) // bars
        first = np.flatnonzero(np.diff(slot, prepend=-1))
        filled = slot[first]

        def put(values: FloatArray, empty: float = np.nan) -> FloatArray:
            column = np.full(math.ceil(len(grid) / bars), empty)
            column[filled] = values
            return column

        last = np.append(first[1:], len(slot)) - 1
        return cls(
            time=grid[::bars],
            open=put(kept.open[first]),
            high=put(np.maximum.reduceat(kept.high, first) if len(first) else kept.high),
            low=put(np.minimum.reduceat(kept.low, first) if len(first) else kept.low),
            close=put(kept.close[last]),
            volume=put(np.add.reduceat(kept.base_volume, first) if len(first) else kept.base_volume, 0.0),
        )

    def __len__(self) -> int:
        return len(self.time)

    @property
    def prices(self) -> tuple[float, float]:
        """The lowest and the highest price, a little apart even where nothing moves."""
        low, high = float(np.nanmin(self.low)), float(np.nanmax(self.high))
        room = (high - low) * 0.03 or high * 0.001
        return low - room, high + room


def ticks(low: float, high: float, about: int) -> list[float]:
    """About so many round numbers between two."""
    rough = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in _NICE if nice * power >= rough * 0.999)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def price_text(price: float, step: float) -> str:
    """A price with the decimals that tell ticks ``step`` apart."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 2
    shown = next((d for d in (decimals, decimals + 1) if abs(round(step, d) - step) < step * 1e-6), decimals)
    return f"{price:,.{min(shown, 12)}f}"


def time_text(time: UtcMs, span: Span) -> str:
    """A time, as short as the length of the chart allows."""
    shown = datetime.fromtimestamp(time / 1000, UTC)
    if span.length > 400 * DAY_MS:
        return shown.strftime("%Y-%m")
    if span.length > _MONTH_DAYS * DAY_MS:
        return shown.strftime("%Y-%m-%d")
    return shown.strftime("%m-%d %H:%M") if span.length > DAY_MS else shown.strftime("%H:%M")


def _last_bars(candles: CandleBatch, most: int | None) -> IntArray:
    """The open times of the bars up to the newest candle."""
    span, timeframe = candles.span, candles.series.timeframe
    if span is None:
        return np.zeros(0, dtype=np.int64)
    if most is not None:
        span = Span(max(span.start, timeframe.shift(span.end - 1, 1 - most)), span.end)
    return timeframe.grid(span)
