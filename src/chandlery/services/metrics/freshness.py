"""How fresh and how whole a set of series is, summed up a timeframe: arithmetic alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.storage.series_states import SeriesState


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """All series of one timeframe. ``lag_s`` and ``lag_bars`` are those of the series that is furthest behind.

    ``coverage`` is the covered share, 0 to 1; ``worst`` is the series with most lag, then with most gaps.
    """

    series: int
    lag_s: float
    lag_bars: int
    gaps: int
    coverage: float
    worst: Series


def freshness(states: Iterable[SeriesState], now: UtcMs) -> dict[Timeframe, Freshness]:
    """The figures of each timeframe that has a series; ``now`` in UTC milliseconds."""
    grouped: dict[Timeframe, list[SeriesState]] = {}
    for state in states:
        grouped.setdefault(state.series.timeframe, []).append(state)
    return {timeframe: _of_one(group, now) for timeframe, group in grouped.items()}


def _of_one(states: list[SeriesState], now: UtcMs) -> Freshness:
    # of one timeframe, so who ends first is most bars behind
    worst = min(states, key=lambda state: (now if state.end is None else state.end, -state.gaps))
    known_s = sum(state.known_s for state in states)
    return Freshness(
        series=len(states),
        lag_s=0.0 if worst.end is None else max(0.0, (now - worst.end) / 1000),
        lag_bars=_bars_behind(worst, now),
        gaps=sum(state.gaps for state in states),
        coverage=sum(state.covered_s for state in states) / known_s if known_s else 0.0,
        worst=worst.series,
    )


def _bars_behind(state: SeriesState, now: UtcMs) -> int:
    """How many bars have closed by ``now`` since the last covered one."""
    if state.end is None:
        return 0
    timeframe = state.series.timeframe
    return max(0, timeframe.ordinal(now) - timeframe.ordinal(state.end))
