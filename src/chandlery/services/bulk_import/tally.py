"""What a source has said of each bar of a series so far: a byte a bar, so that its length does not matter.

A source that is not sorted may speak of a bar in several places. Rows of one bar that agree are one candle; rows that
disagree are all rejected, as in one batch. To know that before the first of them is stored, such a source is read
once more, with 8 bytes a bar for what was said.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chandlery.domain.candle import VALUE_COLUMNS, BoolArray, CandleBatch, CandleRows, RawText, Rejected, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.rules import CONFLICTING, EARLIEST_MS, Verdict
from chandlery.domain.span import Span
from chandlery.domain.timeframe import IntArray, UtcMs

_MIXERS = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)


class Tally:
    """The bars of one series in one source, from 2009 to ``now``."""

    def __init__(self, series: Series, now: UtcMs) -> None:
        self._series = series
        self._first = series.timeframe.ordinal(EARLIEST_MS)
        # memory that nobody wrote to is not taken
        self._seen = np.zeros(series.timeframe.ordinal(now) - self._first + 1, dtype=np.bool_)
        self._said: npt.NDArray[np.uint64] | None = None
        self._disputed: BoolArray | None = None

    def weigh(self, verdict: Verdict) -> None:
        """First reading: take note of bars of which different things are said."""
        if self._said is None or self._disputed is None:
            self._said = np.zeros(len(self._seen), dtype=np.uint64)
            self._disputed = np.zeros(len(self._seen), dtype=np.bool_)
        bars, said = self._bars(verdict.accepted.open_time), _fingerprints(verdict.accepted)
        before = self._said[bars]
        self._disputed[bars[(before != 0) & (before != said)]] = True
        self._said[bars] = said
        rejected = zip(verdict.rejected.open_time, verdict.rejected.reason, strict=True)
        conflicting = [time for time, reason in rejected if time is not None and CONFLICTING in reason]
        self._disputed[self._bars(np.array(conflicting, dtype=np.int64))] = True

    def admit(self, verdict: Verdict, rows: CandleRows, raw: RawText) -> Verdict:
        """Second reading, or the only one: what is left of a verdict when other places are taken into account."""
        batch, rejected, repeated = verdict.accepted, verdict.rejected, verdict.repeated
        bars = self._bars(batch.open_time)
        disputed = np.zeros(len(batch), dtype=np.bool_) if self._disputed is None else self._disputed[bars]
        if disputed.any():
            contradicted = _contradicted(batch.take(disputed), rows, raw)
            repeated -= len(contradicted) - int(disputed.sum())
            rejected += contradicted
            batch, bars = batch.take(~disputed), bars[~disputed]
        again = self._seen[bars]
        self._seen[bars] = True
        batch = batch.take(~again) if again.any() else batch
        return Verdict(accepted=batch, rejected=rejected, repeated=repeated + int(again.sum()))

    def start_over(self) -> None:
        """Forget what was admitted, not what was weighed."""
        self._seen = np.zeros(len(self._seen), dtype=np.bool_)

    @property
    def span(self) -> Span | None:
        """From the first admitted bar's open to the last one's close, UTC milliseconds."""
        if not self._seen.any():
            return None
        first, last = int(self._seen.argmax()), len(self._seen) - int(self._seen[::-1].argmax())
        timeframe = self._series.timeframe
        return Span(timeframe.open_at(first + self._first), timeframe.open_at(last + self._first))

    @property
    def gaps(self) -> tuple[int, int]:
        """How many holes there are within the span, and how many bars are missing in them."""
        first, last = int(self._seen.argmax()), len(self._seen) - int(self._seen[::-1].argmax())
        inside = self._seen[first:last]
        starts = int((inside[:-1] & ~inside[1:]).sum()) if len(inside) else 0
        return starts, int((~inside).sum()) if self._seen.any() else 0

    def _bars(self, times: IntArray) -> IntArray:
        bars: IntArray = self._series.timeframe.ordinal(times) - self._first
        return bars


def _fingerprints(candles: CandleRows) -> npt.NDArray[np.uint64]:
    """A number for the six values of each candle, never 0; equal values give equal numbers."""
    numbers = np.zeros(len(candles), dtype=np.uint64)
    for name in VALUE_COLUMNS:
        values = getattr(candles, name) + 0.0  # there is one zero
        bits = np.where(np.isnan(values), np.nan, values).view(np.uint64)
        numbers = (numbers ^ bits) * _MIXERS[0]
        numbers ^= numbers >> np.uint64(29)
        numbers *= _MIXERS[1]
        numbers ^= numbers >> np.uint64(32)
    return np.maximum(numbers, np.uint64(1))


def _contradicted(batch: CandleBatch, rows: CandleRows, raw: RawText) -> Rejected:
    """Candles that another place of the source contradicts: all rows here that say them, the repeated ones too."""
    places = np.flatnonzero(np.isin(rows.open_time, batch.open_time))
    said = CandleRows.of(batch.series, batch.columns()).take(np.searchsorted(batch.open_time, rows.open_time[places]))
    places = places[same_values(rows.take(places), said)]
    return Rejected(
        series=batch.series,
        open_time=rows.open_time[places].tolist(),
        reason=[CONFLICTING] * len(places),
        raw=[raw(row) for row in places.tolist()],
    )
