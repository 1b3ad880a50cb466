"""Candles into coarser candles, exactly, and the exact decimals behind their doubles."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from chandlery.domain.candle import CandleRows, FloatArray
from chandlery.domain.timeframe import IntArray
from chandlery.simulator.bars import Bar

_MOST_DECIMALS = 15
_LARGEST_EXACT = 2.0**53


def rolled(rows: CandleRows, bar: Bar) -> CandleRows:
    """``rows``, ascending, joined into one candle a bar: a bar is made of whatever rows it has.

    Volumes add up as decimals do: the sum is the double nearest to the sum of the printed values.
    """
    series = replace(rows.series, timeframe=bar.timeframe)
    if not len(rows):
        return CandleRows.empty(series)
    ordinals = bar.ordinal(rows.open_time)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(ordinals)) + 1))
    lasts = np.concatenate((starts[1:], [len(rows)])) - 1
    return CandleRows(
        series=series,
        open_time=bar.open_at(ordinals[starts]),
        open=rows.open[starts],
        high=np.maximum.reduceat(rows.high, starts),
        low=np.minimum.reduceat(rows.low, starts),
        close=rows.close[lasts],
        base_volume=exact_sums(rows.base_volume, starts),
        quote_volume=exact_sums(rows.quote_volume, starts),
    )


def exact_sums(values: FloatArray, starts: IntArray) -> FloatArray:
    """The sum of each group of ``values``; a group begins at each position in ``starts``."""
    places = decimal_places(values)
    if places is None:  # more digits than a double holds: then the correctly rounded sum of the doubles
        return np.array([math.fsum(group) for group in np.split(values, starts[1:])])
    units = np.rint(values * 10.0**places).astype(np.int64)
    sums: FloatArray = np.add.reduceat(units, starts) / 10.0**places
    return sums


def decimal_places(values: FloatArray) -> int | None:
    """The fewest decimals in which all ``values`` can be written without loss, or None if 15 are not enough."""
    largest = float(np.max(np.abs(values), initial=0.0))
    for places in range(_MOST_DECIMALS + 1):
        scale = 10.0**places
        if largest * scale >= _LARGEST_EXACT:
            return None
        if np.array_equal(np.rint(values * scale) / scale, values):
            return places
    return None
