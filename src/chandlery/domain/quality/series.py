"""The check of one series: fed with its rows piece by piece, it tells at the end what was found and what is there."""

from __future__ import annotations

from dataclasses import dataclass

from chandlery.domain.candle import CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.quality import gaps
from chandlery.domain.quality.finding import Finding, Rule
from chandlery.domain.quality.jumps import JumpCheck
from chandlery.domain.quality.quiet import SHORTEST, QuietCheck
from chandlery.domain.quality.rows import RowCheck, in_order
from chandlery.domain.quality.runs import Runs
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs

PIECE = 65_536
"""Rows that are looked at together; memory is bounded by it, and no finding depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesCheck:
    """What a check of one series found.

    ``wanted`` is the span that should be there, None where nothing is; ``candles`` are its bars that have a row, and
    ``coverage`` their share, 0 to 1. ``silent`` is when the exchange told of no trade: long quiet runs, and bars that
    it answered with nothing.
    """

    series: Series
    wanted: Span | None
    candles: int
    coverage: float
    findings: tuple[Finding, ...]
    silent: Spans


class SeriesChecker:
    """Looks at one series. ``now`` is UTC milliseconds; a bar that closes later is not a candle yet."""

    def __init__(self, series: Series, now: UtcMs) -> None:
        self._series = series
        self._now = now
        self._rows = RowCheck(series, now)
        self._quiet = QuietCheck(series)
        self._jumps = JumpCheck(series)
        self._present = Runs()

    def feed(self, rows: CandleRows) -> None:
        """Rows that ascend in time, none earlier than those before; ``in_order`` makes them so."""
        standing, sound = self._rows.feed(rows)
        self._present.add(self._series.timeframe.ordinal(standing.open_time))
        self._quiet.feed(sound)
        self._jumps.feed(sound)

    def done(
        self,
        *,
        since: UtcMs | None = None,
        until: UtcMs | None = None,
        covered: Spans | None = None,
        more: tuple[Finding, ...] = (),
    ) -> SeriesCheck:
        """What was found, ``more`` included.

        Wanted is from ``since``, or the first row, to ``until``, or the end of what is known: what closed after that
        is told of as stale. ``covered`` is the ledger; None where the rows are all that is known.
        """
        timeframe = self._series.timeframe
        present = self._present.spans(timeframe)
        known = present if covered is None else covered | present
        start, known_until = self._bounds(known, since)
        wanted = self._wanted(start, known_until if until is None else until)
        found = [*more, *self._rows.findings(), *self._jumps.findings()]
        quiet = self._quiet.findings()
        missing: list[Finding] = []
        if wanted is not None:
            found += gaps.uncovered(self._series, wanted, known, ledger=covered is not None)
            missing += gaps.missing_rows(self._series, wanted, known, present)
        if until is None and known_until is not None:
            found += gaps.stale(self._series, known_until, self._now)
        inside = present & Spans([wanted]) if wanted else Spans()
        candles = sum(map(timeframe.count, inside))
        return SeriesCheck(
            series=self._series,
            wanted=wanted,
            candles=candles,
            coverage=candles / timeframe.count(wanted) if wanted else 0.0,
            findings=tuple(sorted([*found, *missing, *quiet], key=_worst_first)),
            silent=Spans(found.span for found in (*quiet, *missing) if found.count >= SHORTEST),
        )

    def _bounds(self, known: Spans, since: UtcMs | None) -> tuple[UtcMs | None, UtcMs | None]:
        """Where wanted starts, and how far the series is known from there."""
        hull = known.hull
        if hull is None:
            return since, since
        start = hull.start if since is None else since
        return start, max(hull.end, start)

    def _wanted(self, start: UtcMs | None, end: UtcMs | None) -> Span | None:
        """Whole bars that had closed."""
        if start is None or end is None:
            return None
        end = min(end, self._now)
        return self._series.timeframe.aligned(Span(start, end)) if start < end else None


def check_rows(
    rows: CandleRows,
    now: UtcMs,
    *,
    since: UtcMs | None = None,
    until: UtcMs | None = None,
    more: tuple[Finding, ...] = (),
) -> SeriesCheck:
    """Check columns in any order, of which nothing is proved and to which there is no ledger."""
    ordered, unsorted = in_order(rows)
    checker = SeriesChecker(rows.series, now)
    for start in range(0, len(ordered), PIECE):
        checker.feed(ordered.take(slice(start, start + PIECE)))
    return checker.done(since=since, until=until, more=(*more, *unsorted))


def _worst_first(found: Finding) -> tuple[int, Rule, int]:
    return -found.severity, found.rule, found.span.start
