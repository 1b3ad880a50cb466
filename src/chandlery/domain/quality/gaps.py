"""What is not there: spans that nobody has asked for, rows that are absent where somebody has, and old ends."""

from __future__ import annotations

from collections.abc import Iterator

from chandlery.domain.instrument import Series
from chandlery.domain.quality.finding import Finding, Rule, counted, finding
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import MINUTE_MS, UtcMs

STALE_BARS = 3
STALE_MS = 10 * MINUTE_MS
"""A series is stale when its newest bar closed more than three bars and ten minutes ago: a bar may be under way, one
may not have been settled by the exchange, and a collection every few minutes is a usual one."""


def uncovered(series: Series, wanted: Span, covered: Spans, *, ledger: bool) -> Iterator[Finding]:
    """``missing = wanted - covered``, a finding a span; without a ``ledger`` covered is where there are rows."""
    what = "never answered" if ledger else "without a row"
    for span in Spans([wanted]) - covered:
        count = series.timeframe.count(span)
        yield finding(Rule.GAP_UNCOVERED, series, span, count, f"{counted(count, 'bar')} {what}")


def missing_rows(series: Series, wanted: Span, covered: Spans, present: Spans) -> Iterator[Finding]:
    """Bars of which the ledger says that they were asked for, and that have no row."""
    for span in (Spans([wanted]) & covered) - present:
        count = series.timeframe.count(span)
        yield finding(
            Rule.GAP_MISSING_ROWS, series, span, count, f"{counted(count, 'bar')} answered with nothing, or deleted"
        )


def stale(series: Series, known_until: UtcMs, now: UtcMs) -> Iterator[Finding]:
    """A finding if what is known ends long before the last bar that has closed."""
    timeframe = series.timeframe
    due = timeframe.floor(now)
    if due <= known_until:
        return
    span = Span(known_until, due)
    count = timeframe.count(span)
    if count > STALE_BARS and now - known_until > STALE_MS:
        yield finding(Rule.STALE, series, span, count, f"nothing newer; {counted(count, 'bar')} closed since")
