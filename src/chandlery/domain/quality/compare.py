"""Two tellings of the same bars: coarse candles against finer ones rolled up, stored ones against the exchange's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chandlery.domain.candle import PRICE_COLUMNS, VOLUME_COLUMNS, BoolArray, CandleBatch, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.quality.finding import Finding, Rule, Severity, counted, finding
from chandlery.domain.quality.runs import Runs, bars
from chandlery.domain.rollup import roll_up, within
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import IntArray

FETCHED_TOLERANCE = 1e-6
"""Relative, for volumes that the exchange added up itself, and may have rounded on its way."""

DERIVED_TOLERANCE = 1e-12
"""Relative, for volumes that were added up here: the last bits may differ where they were added in steps."""

_COLUMNS = PRICE_COLUMNS + VOLUME_COLUMNS
_DERIVED = 1 << len(_COLUMNS)


def disagreement(left: CandleRows, right: CandleRows, tolerance: float) -> IntArray:
    """Row by row, which columns of two tables of the same bars differ: a bit each, in the order of the columns.

    Prices must be equal, volumes within a relative ``tolerance``; a turnover that one does not tell differs from none.
    """
    bits = np.zeros(len(left), dtype=np.int64)
    for number, name in enumerate(_COLUMNS):
        a, b = getattr(left, name), getattr(right, name)
        allowed = tolerance * np.maximum(np.abs(a), np.abs(b)) if name in VOLUME_COLUMNS else 0.0
        differs: BoolArray = (np.abs(a - b) > allowed) & ~np.isnan(a) & ~np.isnan(b)
        bits |= differs.astype(np.int64) << number
    return bits


def in_common(left: CandleBatch, right: CandleBatch) -> tuple[CandleBatch, CandleBatch]:
    """The candles of each whose bars the other has too."""
    _, of_left, of_right = np.intersect1d(left.open_time, right.open_time, assume_unique=True, return_indices=True)
    return left.take(of_left), right.take(of_right)


def differing(left: CandleBatch, right: CandleBatch, rule: Rule) -> Iterator[Finding]:
    """A finding of ``rule`` for each run of bars that two batches of a series tell differently."""
    ours, theirs = in_common(left, right)
    bits = disagreement(ours, theirs, FETCHED_TOLERANCE)
    runs = Runs()
    runs.add(ours.series.timeframe.ordinal(ours.open_time[bits != 0]), bits[bits != 0])
    for first, last, count, which in runs:
        message = f"{named(which)} differ in {counted(count, 'bar')}"
        yield finding(rule, ours.series, bars(ours.series.timeframe, first, last), count, message)


class TimeframeCheck:
    """Compares one timeframe of an instrument with a finer one, piece by piece."""

    def __init__(self, fine: Series, coarse: Series) -> None:
        self._fine = fine
        self._coarse = coarse
        self._runs = Runs()

    def feed(self, fine: CandleBatch, covered: Spans, coarse: CandleBatch, derived: Spans) -> None:
        """Candles of one span, both with the whole bars in it.

        ``covered`` is where the finer series is known, ``derived`` where coarse candles were made from it.
        """
        rolled, _ = roll_up(fine, self._coarse.timeframe, covered)
        stored, made = in_common(coarse, rolled)
        ours = within(stored.open_time, derived)
        bits = np.where(
            ours,
            disagreement(stored, made, DERIVED_TOLERANCE),
            disagreement(stored, made, FETCHED_TOLERANCE),
        )
        wrong = bits != 0
        bits |= ours.astype(np.int64) * _DERIVED
        self._runs.add(self._coarse.timeframe.ordinal(stored.open_time[wrong]), bits[wrong])

    def findings(self) -> Iterator[Finding]:
        """A finding for each run of bars that differ; an error where the coarse candles are our own work."""
        for first, last, count, bits in self._runs:
            span = bars(self._coarse.timeframe, first, last)
            message = f"{named(bits)} differ from {self._fine.timeframe} rolled up in {counted(count, 'bar')}"
            severity = Severity.ERROR if bits & _DERIVED else Severity.WARNING
            both = (self._coarse, self._fine)
            yield finding(Rule.TIMEFRAME_MISMATCH, both, span, count, message, severity=severity)


def named(bits: int) -> str:
    """The columns that a disagreement is about."""
    return ", ".join(name for number, name in enumerate(_COLUMNS) if bits >> number & 1)
