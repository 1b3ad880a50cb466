"""Candles for tests: made from a seed, plausible, and valid by every rule."""

from __future__ import annotations

import numpy as np

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import timeframe

START = 1_704_067_200_000
"""2024-01-01 UTC, an open time of every timeframe but 1w."""


def series(symbol: str = "BTC-USDT", interval: str = "1m", exchange: str = "okx") -> Series:
    return Series(exchange, symbol, timeframe(interval))


def candles(of: Series, count: int, *, start: int = START, seed: int = 0) -> CandleBatch:
    """``count`` candles from the first bar at or after ``start``."""
    first = of.timeframe.ceil(start)
    opens = of.timeframe.grid(Span(first, of.timeframe.shift(first, count)))
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.001, count))), 2)
    open_ = np.concatenate(([100.0], close[:-1]))
    volume = np.round(rng.exponential(5, count), 4)
    return CandleBatch.of(
        of,
        {
            "open_time": opens,
            "open": open_,
            "high": np.maximum(open_, close) + 0.01,
            "low": np.minimum(open_, close) - 0.01,
            "close": close,
            "base_volume": volume,
            "quote_volume": np.round(volume * close, 6),
        },
    )


def changed(batch: CandleBatch, rows: slice, by: float = 1.0) -> CandleBatch:
    """The same candles with another close in some rows, still valid."""
    close, high, low = batch.close.copy(), batch.high.copy(), batch.low.copy()
    close[rows] += by
    high, low = np.maximum(high, close), np.minimum(low, close)
    return CandleBatch.of(batch.series, {**batch.columns(), "close": close, "high": high, "low": low})
