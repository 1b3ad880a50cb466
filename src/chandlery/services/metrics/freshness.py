"""How fresh and how whole a set of series is, summed up a timeframe: arithmetic on the ledger alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.storage.coverage import LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesState:
    """What the ledger knows of a series. Times are UTC milliseconds; ``end`` is None while nothing is covered.

    ``covered`` and ``known`` are lengths in milliseconds: of what is covered, and of the time from the beginning to
    ``end``.
    """

    series: Series
    end: UtcMs | None
    gaps: int
    covered: int
    known: int

    def bars_behind(self, now: UtcMs) -> int:
        """How many bars have closed by ``now`` since the last covered one."""
        if self.end is None:
            return 0
        timeframe = self.series.timeframe
        return max(0, timeframe.ordinal(timeframe.floor(now)) - timeframe.ordinal(self.end))


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """All series of one timeframe. ``lag_s`` and ``lag_bars`` are those of the series that is furthest behind."""

    series: int
    lag_s: float
    lag_bars: int
    gaps: int
    coverage: float
    worst: Series


def state_of(entry: LedgerEntry) -> SeriesState:
    """A series as its ledger entry tells."""
    hull = entry.spans.hull
    if hull is None:
        return SeriesState(series=entry.series, end=None, gaps=0, covered=0, known=0)
    known = Span(min(hull.start, entry.begins_at or hull.start), hull.end)
    return SeriesState(
        series=entry.series,
        end=hull.end,
        gaps=len(tuple(Spans([known]) - entry.spans)),
        covered=entry.spans.length,
        known=known.length,
    )


def freshness(states: Iterable[SeriesState], now: UtcMs) -> dict[Timeframe, Freshness]:
    """The figures of each timeframe that has a series; ``now`` in UTC milliseconds."""
    grouped: dict[Timeframe, list[SeriesState]] = {}
    for state in states:
        grouped.setdefault(state.series.timeframe, []).append(state)
    return {timeframe: _of_one(group, now) for timeframe, group in grouped.items()}


def _of_one(states: list[SeriesState], now: UtcMs) -> Freshness:
    worst = max(states, key=lambda state: (state.bars_behind(now), state.gaps))
    known = sum(state.known for state in states)
    ends = [state.end for state in states if state.end is not None]
    return Freshness(
        series=len(states),
        lag_s=max(0.0, (now - min(ends)) / 1000) if ends else 0.0,
        lag_bars=worst.bars_behind(now),
        gaps=sum(state.gaps for state in states),
        coverage=sum(state.covered for state in states) / known if known else 0.0,
        worst=worst.series,
    )
