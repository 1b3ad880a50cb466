"""Long quiet runs: flat candles without volume, longer than this instrument is usually quiet.

An exchange that stands still publishes flat candles all the same, so nothing is missing then and yet nothing happened.
"""

from __future__ import annotations

import numpy as np

from chandlery.domain.candle import BoolArray, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.quality.finding import Finding, Rule, counted, finding
from chandlery.domain.quality.runs import Runs, bars
from chandlery.domain.timeframe import DAY_MS, IntArray, Timeframe

SHORTEST = 3
"""Fewer quiet candles in a row are never told of: two in a row come by chance even in the liveliest markets."""

TIMES_USUAL = 4
"""How many times the usual longest run. By chance the longest run of ten years is about twice that of a day, and a
weekend is about twice as quiet as a weekday."""

UNKNOWN = 60
"""What counts as long where there are less than ``DAYS_TO_KNOW`` days to tell what is usual."""

DAYS_TO_KNOW = 3
_BARS_IN_A_DAY = 96


def is_quiet(rows: CandleRows) -> BoolArray:
    """Row by row, whether nothing was traded: no volume, and one price."""
    quiet: BoolArray = (rows.base_volume == 0) & (rows.high == rows.low)
    return quiet


class QuietCheck:
    """Collects the quiet runs of a series, piece by piece.

    The measure is the median over the days of each day's longest quiet run: an outage, or many, does not move it, and
    an instrument that hardly trades at night is not told of every night. A day has at least 96 bars, so for coarse
    timeframes it is longer.
    """

    def __init__(self, series: Series) -> None:
        self._series = series
        self._quiet = Runs()
        self._days: list[IntArray] = []

    def feed(self, rows: CandleRows) -> None:
        """Candles that ascend in time."""
        ordinals = self._series.timeframe.ordinal(rows.open_time)
        self._quiet.add(ordinals[is_quiet(rows)])
        self._days.append(np.unique(ordinals // _day(self._series.timeframe)))

    def findings(self) -> list[Finding]:
        """A finding for each run that is longer than is usual here."""
        first, last, length, _ = self._quiet.merged()
        longest_usual = self._threshold(first, length)
        told = np.flatnonzero(length >= longest_usual).tolist()
        return [self._finding(int(first[run]), int(last[run])) for run in told]

    def _threshold(self, first: IntArray, length: IntArray) -> float:
        """The length from which on a run is told of, in bars."""
        days = np.unique(np.concatenate(self._days)) if self._days else np.zeros(0, dtype=np.int64)
        if len(days) < DAYS_TO_KNOW:
            return UNKNOWN
        longest = np.zeros(len(days), dtype=np.int64)
        np.maximum.at(longest, np.searchsorted(days, first // _day(self._series.timeframe)), length)
        return max(SHORTEST, TIMES_USUAL * float(np.median(longest)))

    def _finding(self, first: int, last: int) -> Finding:
        count = last - first + 1
        span = bars(self._series.timeframe, first, last)
        return finding(Rule.QUIET_RUN, self._series, span, count, f"{counted(count, 'bar')} without a trade")


def _day(timeframe: Timeframe) -> int:
    """How many bars of a timeframe make a day for this purpose."""
    return _BARS_IN_A_DAY if timeframe.step_ms is None else max(_BARS_IN_A_DAY, DAY_MS // timeframe.step_ms)
