"""The check of one series: fed with its rows piece by piece, it tells at the end what was found and what is there."""

from __future__ import annotations

from collections.abc import Sequence
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

    ``wanted`` is the span that should be there, None where nothing is; ``candles`` are its bars that are known and have
    a row, and ``coverage`` their share, 0 to 1, of those that were not dropped on purpose. ``silent`` is when the
    exchange told of no trade: long quiet runs, and bars that it answered with nothing.
    """

    series: Series
    wanted: Span | None
    candles: int
    coverage: float
    findings: tuple[Finding, ...]
    silent: Spans


_NOTHING = Spans()


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
        retired: Spans = _NOTHING,
        more: tuple[Finding, ...] = (),
    ) -> SeriesCheck:
        """What was found, ``more`` included.

        Wanted is from ``since``, or the beginning of what is known, to ``until``, or the end of what is known: what
        closed after that is told of as stale. ``covered`` is the ledger, which alone says what is known; None where
        there is none, and what has a row is known. What was ``retired`` should not be there.
        """
        present = self._present.spans(self._series.timeframe)
        known = present if covered is None else covered
        hull = known.hull or present.hull
        start = since if since is not None or hull is None else hull.start
        known_until = start if hull is None or start is None else max(hull.end, start)
        wanted = self._wanted(start, known_until if until is None else until)
        missing: list[Finding] = []
        if wanted is not None:
            missing += gaps.missing_rows(self._series, wanted, known - retired, present)
            more = (*more, *gaps.uncovered(self._series, wanted, known, ledger=covered is not None))
        if until is None and known_until is not None:
            # a collection may have gone on since the ledger was read
            newest = max(known_until, present.hull.end) if present.hull else known_until
            more = (*more, *gaps.stale(self._series, newest, self._now))
        due = Spans([wanted] if wanted else []) - retired
        return self._told(wanted, due, present & known & due, (*more, *missing), missing)

    def _wanted(self, start: UtcMs | None, end: UtcMs | None) -> Span | None:
        """Whole bars that had closed."""
        if start is None or end is None:
            return None
        end = min(end, self._now)
        return self._series.timeframe.aligned(Span(start, end)) if start < end else None

    def _told(
        self, wanted: Span | None, due: Spans, there: Spans, told: Sequence[Finding], missing: Sequence[Finding]
    ) -> SeriesCheck:
        timeframe = self._series.timeframe
        quiet = self._quiet.findings()
        found = [*told, *quiet, *self._rows.findings(), *self._jumps.findings()]
        candles, bars = (sum(map(timeframe.count, spans)) for spans in (there, due))
        return SeriesCheck(
            series=self._series,
            wanted=wanted,
            candles=candles,
            coverage=candles / bars if bars else 0.0,
            findings=tuple(sorted(found, key=_worst_first)),
            silent=Spans(each.span for each in (*quiet, *missing) if each.count >= SHORTEST),
        )


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
