"""Single rows that cannot be right: off the grid, not closed yet, twice, or with prices that contradict one another.

In PostgreSQL constraints keep most of them out; in files, and in what was written by hand, anything can stand.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chandlery.domain.candle import BoolArray, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.quality.finding import Finding, Rule, counted, finding
from chandlery.domain.quality.runs import Runs, bars
from chandlery.domain.rules import broken_values
from chandlery.domain.timeframe import UtcMs

CLOCKS_APART_MS = 60_000
"""How far our clock may be behind the exchange's, and a check behind a collection that goes on meanwhile."""

_WORDS = {
    Rule.MISALIGNED: "{rows} with a time at which no bar opens",
    Rule.DUPLICATE: "{rows} whose bar had a row already",
    Rule.FUTURE: "{rows} of bars that had not closed",
}


def in_order(rows: CandleRows) -> tuple[CandleRows, list[Finding]]:
    """The rows ascending in time, and a finding if they did not: its span holds the rows that came too late."""
    late = rows.open_time < np.maximum.accumulate(rows.open_time) if len(rows) else np.zeros(0, dtype=np.bool_)
    if not late.any():
        return rows, []
    count, ordinals = int(late.sum()), rows.series.timeframe.ordinal(rows.open_time[late])
    span = bars(rows.series.timeframe, int(ordinals.min()), int(ordinals.max()))
    message = f"{counted(count, 'row')} after a later one"
    ordered = rows.take(np.argsort(rows.open_time, kind="stable"))
    return ordered, [finding(Rule.UNSORTED, rows.series, span, count, message)]


class RowCheck:
    """Looks at rows that ascend in time, piece by piece, and hands on those that are candles."""

    def __init__(self, series: Series, now: UtcMs) -> None:
        self._series = series
        self._now = now
        self._last: UtcMs | None = None
        self._wrong: dict[Rule, Runs] = {rule: Runs() for rule in _WORDS}
        self._broken = Runs()
        self._reasons: list[str] = []

    def feed(self, rows: CandleRows) -> tuple[CandleRows, CandleRows]:
        """The rows that stand for a bar, and those of them whose values are sound too."""
        timeframe = self._series.timeframe
        opens, ordinals = rows.open_time, timeframe.ordinal(rows.open_time)
        misaligned = timeframe.open_at(ordinals) != opens
        future = timeframe.open_at(ordinals + 1) > self._now + CLOCKS_APART_MS
        before = np.concatenate(([-1 if self._last is None else self._last], opens))
        repeated = np.diff(before) == 0
        for rule, mask in ((Rule.MISALIGNED, misaligned), (Rule.DUPLICATE, repeated), (Rule.FUTURE, future)):
            self._wrong[rule].add(ordinals[mask])
        self._last = int(before[-1])
        standing = ~(misaligned | future | repeated)
        sound = standing & ~self._contradictory(rows, misaligned)
        return rows.take(standing), rows.take(sound)

    def _contradictory(self, rows: CandleRows, elsewhere: BoolArray) -> BoolArray:
        bits = np.zeros(len(rows), dtype=np.int64)
        reasons = []
        for number, (reason, mask) in enumerate(broken_values(rows)):
            bits |= mask.astype(np.int64) << number
            reasons.append(reason)
        self._reasons = reasons
        bad: BoolArray = bits != 0
        told = bad & ~elsewhere  # a row off the grid has no bar to be told of
        self._broken.add(self._series.timeframe.ordinal(rows.open_time[told]), bits[told])
        return bad

    def findings(self) -> Iterator[Finding]:
        """Everything found, a finding for each run of bars."""
        timeframe = self._series.timeframe
        for rule, runs in self._wrong.items():
            for first, last, count, _ in runs:
                message = _WORDS[rule].format(rows=counted(count, "row"))
                yield finding(rule, self._series, bars(timeframe, first, last), count, message)
        for first, last, count, bits in self._broken:
            reasons = "; ".join(reason for number, reason in enumerate(self._reasons) if bits >> number & 1)
            message = f"{counted(count, 'row')}: {reasons}"
            yield finding(Rule.BROKEN_OHLC, self._series, bars(timeframe, first, last), count, message)
