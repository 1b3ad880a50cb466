"""Roll-up: a coarser timeframe made exactly from a finer one of the same instrument.

Open, high, low and close of the result are values of the finer candles, to the last bit. Volumes add up as decimals
do: a sum is the double nearest to the sum of the printed values, whatever the order and the steps in between, as long
as it has no more than 15 digits. Where a volume has more digits than a double holds (a product of two others, say), its
bar gets the correctly rounded sum of the doubles instead, which may differ in the last bit from a sum made in steps.
A turnover that one of the finer candles does not tell (NaN) is not known of the coarse one either.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from chandlery.domain.candle import BoolArray, CandleBatch, CandleRows, FloatArray
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import IntArray, Timeframe

_SCALES = np.array([float(10**places) for places in range(16)])
_LARGEST_EXACT = 2.0**53
_SURELY_EXACT = 2.0**50  # up to here, 15 digits, a decimal times its scale rounds to the whole number that is meant


def roll_up(batch: CandleBatch, coarse: Timeframe, covered: Spans) -> tuple[CandleBatch, Spans]:
    """The candles of ``coarse`` that ``batch`` makes, and the bars that they are proof of.

    ``covered`` is where the finer series is known; only bars that lie in it whole are made. The exchange writes a flat
    candle at the last price for a minute without trades, so such a bar is full as a rule. If the exchange had nothing
    to say for some of its minutes, the bar is made of those that there are; if for all of them, the bar has no
    candle, but is among the spans returned, for asking again would give nothing. A bar in which the finer history
    begins or ends does not lie in ``covered`` whole, and is left to the exchange, which may know more of it.

    Raises ValueError unless every bar of ``coarse`` is a whole number of the batch's bars.
    """
    fine = batch.series.timeframe
    if not coarse.made_of(fine):
        raise ValueError(f"{coarse} bars are no whole number of {fine} bars")
    bars = whole_bars(coarse, covered)
    inside = batch.take(within(batch.open_time, bars))
    rows = joined_rows(inside, replace(batch.series, timeframe=coarse), coarse.floor(inside.open_time))
    return CandleBatch.of(rows.series, rows.columns()), bars


def whole_bars(timeframe: Timeframe, spans: Spans) -> Spans:
    """The bars of ``timeframe`` that lie in ``spans`` whole."""
    return Spans(bars for span in spans if (bars := timeframe.aligned(span)) is not None)


def touched_bars(timeframe: Timeframe, spans: Spans) -> Spans:
    """The bars of ``timeframe`` of which some part lies in ``spans``."""
    return Spans(Span(timeframe.floor(span.start), timeframe.ceil(span.end)) for span in spans)


def within(times: IntArray, spans: Spans) -> BoolArray:
    """For each time whether it lies in ``spans``."""
    edges = np.array([edge for span in spans for edge in (span.start, span.end)], dtype=np.int64)
    inside: BoolArray = np.searchsorted(edges, times, side="right") % 2 == 1
    return inside


def joined_rows(rows: CandleRows, series: Series, opens: IntArray) -> CandleRows:
    """``rows``, ascending, joined into one candle of ``series`` for each bar.

    ``opens`` has the open time of each row's bar; a bar is made of whatever rows it has.
    """
    if not len(rows):
        return CandleRows.empty(series)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(opens)) + 1))
    lasts = np.concatenate((starts[1:], [len(rows)])) - 1
    return CandleRows(
        series=series,
        open_time=opens[starts],
        open=rows.open[starts],
        high=np.maximum.reduceat(rows.high, starts),
        low=np.minimum.reduceat(rows.low, starts),
        close=rows.close[lasts],
        base_volume=exact_sums(rows.base_volume, starts),
        quote_volume=exact_sums(rows.quote_volume, starts),
    )


def exact_sums(values: FloatArray, starts: IntArray) -> FloatArray:
    """The sum of each group of ``values``, none negative; a group begins at each position in ``starts``."""
    untold = np.isnan(values)
    told = np.where(untold, 0.0, values)
    places = np.maximum.reduceat(_places(told), starts)
    scales = _SCALES[np.minimum(places, len(_SCALES) - 1)]
    sizes = np.diff(np.append(starts, len(values)))
    # whole numbers add up exactly in doubles, as long as the sum is one that a double can count
    units = np.rint(told * np.repeat(scales, sizes))
    totals = np.add.reduceat(units, starts)
    sums: FloatArray = totals / scales
    for group in np.flatnonzero((places == len(_SCALES)) | (totals >= _SURELY_EXACT)).tolist():
        part = slice(starts[group], starts[group] + sizes[group])
        sums[group] = _long_sum(told[part], units[part], scales[group])
    sums[np.logical_or.reduceat(untold, starts)] = np.nan
    return sums


def _long_sum(values: FloatArray, units: FloatArray, scale: float) -> float:
    """The sum of one group that does not fit the arithmetic of whole columns."""
    if np.array_equal(units / scale, values) and float(units.max()) < _LARGEST_EXACT:
        return sum(map(int, units.tolist())) / int(scale)
    return math.fsum(values.tolist())


def decimal_places(values: FloatArray) -> int | None:
    """The fewest decimals in which all ``values`` can be written without loss, or None if 15 are not enough."""
    places = int(np.max(_places(values), initial=0))
    if places == len(_SCALES):
        return None
    units = values * _SCALES[places]
    lossless = np.array_equal(np.rint(units) / _SCALES[places], values) and not np.any(np.abs(units) >= _LARGEST_EXACT)
    return places if lossless else None


def _places(values: FloatArray) -> IntArray:
    """For each value the fewest decimals in which it can be written without loss, 16 if 15 are not enough."""
    found = np.full(len(values), len(_SCALES), dtype=np.int64)
    left = np.arange(len(values))
    for places, scale in enumerate(_SCALES.tolist()):
        units = values[left] * scale
        exact = (np.rint(units) / scale == values[left]) & (np.abs(units) < _LARGEST_EXACT)
        found[left[exact]] = places
        left = left[~exact]
    return found
