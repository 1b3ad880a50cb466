"""Made-up candles, in the shapes in which users hand them over."""

from __future__ import annotations

from typing import Any

import numpy as np

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import TIMEFRAMES, UtcMs

START: UtcMs = 1_577_836_800_000
"""2020-01-01 UTC."""

SERIES_OF_MANY = 10


def one_series(rows: int) -> CandleBatch:
    """Minutes of one instrument."""
    return candles_from("BTC-USDT", START, rows, seed=0)


def many_series(rows: int) -> list[CandleBatch]:
    """As many minutes of each of ten instruments as make ``rows`` together."""
    return [candles_from(f"MADE{n}-USDT", START, rows // SERIES_OF_MANY, seed=n) for n in range(1, SERIES_OF_MANY + 1)]


def records_of(batches: list[CandleBatch]) -> list[dict[str, Any]]:
    """A dict a candle: text, whole milliseconds and floats, as exchange clients hand them out."""
    records = []
    for batch in batches:
        names = ("timestamp", "open", "high", "low", "close", "volume", "quote_volume")
        constant = {"symbol": batch.series.symbol, "interval": batch.series.timeframe.name}
        columns = (column.tolist() for column in batch.columns().values())
        records += [constant | dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return records


def candles_from(symbol: str, start: UtcMs, count: int, *, seed: int) -> CandleBatch:
    """So many minutes of one instrument, at least one."""
    series = Series("okx", symbol, TIMEFRAMES["1m"])
    rng = np.random.default_rng(seed)
    close = np.round(30_000 * np.exp(np.cumsum(rng.normal(0, 0.0005, count))), 1)
    open_ = np.concatenate(([30_000.0], close[:-1]))[:count]
    volume = np.round(rng.exponential(3, count), 8)
    return CandleBatch.of(
        series,
        {
            "open_time": series.timeframe.grid(Span(start, series.timeframe.shift(start, count))),
            "open": open_,
            "high": np.round(np.maximum(open_, close) + rng.exponential(5, count), 1),
            "low": np.round(np.minimum(open_, close) * (1 - rng.exponential(0.0002, count)), 1),
            "close": close,
            "base_volume": volume,
            "quote_volume": np.round(volume * close, 4),
        },
    )
