"""Checking a store: each series by itself, timeframes of one instrument against each other, all series together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Self

from chandlery.domain.instrument import Series
from chandlery.domain.quality import (
    PIECE,
    Finding,
    SeriesCheck,
    SeriesChecker,
    Severity,
    outages,
    unexplained,
)
from chandlery.domain.quality.compare import TimeframeCheck
from chandlery.domain.span import Span
from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, UtcMs
from chandlery.errors import DataNotFoundError
from chandlery.services.check.shelves import Shelf, candles

Watch = Callable[[Series], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to check; empty means all, None means from the beginning, or up to what is known."""

    symbols: Sequence[str] = ()
    timeframes: Sequence[Timeframe] = ()
    since: UtcMs | None = None
    until: UtcMs | None = None

    def chosen(self, series: Sequence[Series]) -> list[Series]:
        """The series meant. Raises DataNotFoundError for a symbol or timeframe of which there is none."""
        for symbol in self.symbols:
            if all(each.symbol != symbol for each in series):
                raise DataNotFoundError(f"no candles of {symbol} are stored.", hint="See what is: chandlery status.")
        inside = [each for each in series if not self.symbols or each.symbol in self.symbols]
        for timeframe in self.timeframes:
            if all(each.timeframe != timeframe for each in inside):
                raise DataNotFoundError(f"no candles in {timeframe} are stored.", hint="See what is: chandlery status.")
        return [each for each in inside if not self.timeframes or each.timeframe in self.timeframes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found: ``findings`` are those of all series and of all together, the worst first."""

    series: tuple[SeriesCheck, ...]
    findings: tuple[Finding, ...]

    def with_findings(self, more: Sequence[Finding]) -> Self:
        """The same with further findings."""
        return replace(self, findings=worst_first([*self.findings, *more]))

    @property
    def worst(self) -> Severity | None:
        """The highest severity found."""
        return max((found.severity for found in self.findings), default=None)


def check(shelf: Shelf, scope: Scope, clock: Callable[[], UtcMs], watch: Watch = lambda _: None) -> Report:
    """Check everything in ``scope``.

    ``clock`` gives UTC milliseconds and is asked for each series anew, because a collection may go on meanwhile;
    ``watch`` hears of each series before its turn.
    """
    chosen = scope.chosen(shelf.series())
    checks = []
    for series in chosen:
        watch(series)
        checks.append(_one(shelf, series, scope, clock()))
    differences = [found for fine, coarse in _pairs(chosen) for found in _compared(shelf, fine, coarse, scope, clock())]
    silent = {each.series: each.silent for each in checks}
    seen = {each.series: each.wanted for each in checks if each.wanted is not None}
    stood_still = outages(silent, seen)
    found = unexplained([found for each in checks for found in each.findings], stood_still)
    return Report(series=tuple(checks), findings=worst_first([*found, *differences, *stood_still]))


def worst_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """By severity and rule; within a rule the longest first."""
    return tuple(sorted(findings, key=lambda f: (-f.severity, f.rule, -f.span.length, f.span.start, str(f.series[0]))))


def _one(shelf: Shelf, series: Series, scope: Scope, now: UtcMs) -> SeriesCheck:
    known = shelf.known(series)
    checker = SeriesChecker(series, now)
    for rows in shelf.rows(series, scope.since, scope.until):
        checker.feed(rows)
    since = scope.since if known.begins_at is None else max(known.begins_at, scope.since or 0)
    remarks = shelf.remarks(series, Span(scope.since or 0, now if scope.until is None else scope.until))
    return checker.done(
        since=since, until=scope.until, covered=known.covered, retired=known.retired, more=tuple(remarks)
    )


def _pairs(series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """The finest series of each instrument, with each coarser one that is made of whole bars of it."""
    order = list(TIMEFRAMES)
    ordered = sorted(series, key=lambda each: (each.exchange, each.symbol, order.index(each.timeframe.name)))
    for _, group in groupby(ordered, key=lambda each: (each.exchange, each.symbol)):
        finest, *coarser = group
        for coarse in coarser:
            if coarse.timeframe.made_of(finest.timeframe):
                yield finest, coarse


def _compared(shelf: Shelf, fine: Series, coarse: Series, scope: Scope, now: UtcMs) -> Iterator[Finding]:
    """Compare piece by piece, wherever a coarse bar has all its finer candles."""
    derived = shelf.known(coarse).derived
    compared = TimeframeCheck(fine, coarse)
    for span in _pieces(shelf, fine, coarse, scope, now):
        made_of = candles(shelf, fine, span, now)
        compared.feed(made_of, made_of.runs(), candles(shelf, coarse, span, now), derived)
    return compared.findings()


def _pieces(shelf: Shelf, fine: Series, coarse: Series, scope: Scope, now: UtcMs) -> Iterator[Span]:
    """Spans of whole coarse bars with about a piece of fine ones each, from the first fine row on."""
    for rows in shelf.rows(coarse, scope.since, scope.until):
        if not len(rows):
            continue
        timeframe = coarse.timeframe
        start, end = timeframe.floor(int(rows.open_time[0])), timeframe.close_of(int(rows.open_time[-1]))
        while start < min(end, now):
            stop = min(max(timeframe.floor(fine.timeframe.shift(start, PIECE)), timeframe.close_of(start)), end)
            yield Span(start, stop)
            start = stop
