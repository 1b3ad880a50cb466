"""Lag, gaps and coverage of many series are summed up a timeframe, and the worst one speaks."""

from __future__ import annotations

from candles import START, series
from chandlery.domain.timeframe import HOUR_MS, MINUTE_MS
from chandlery.services.metrics.freshness import Freshness, freshness
from chandlery.storage.series_states import SeriesState


def state(symbol: str, end: int | None, *, gaps: int = 0, interval: str = "1m", covered: int = 10) -> SeriesState:
    """Covered until minute ``end``; a minute is missing for each gap."""
    return SeriesState(
        series=series(symbol, interval),
        end=None if end is None else START + end * MINUTE_MS,
        gaps=gaps,
        covered_s=0.0 if end is None else 60.0 * (covered - gaps),
        known_s=0.0 if end is None else 60.0 * covered,
    )


def fresh(*states: SeriesState, minute: float) -> dict[str, Freshness]:
    found = freshness(states, int(START + minute * MINUTE_MS))
    return {bar.name: one for bar, one in found.items()}


def test_a_series_lags_by_the_bars_that_have_closed_since() -> None:
    for minute, bars in ((10, 0), (10.5, 0), (10.75, 0), (11, 1), (13.5, 3)):
        found = fresh(state("A-B", 10), minute=minute)["1m"]
        assert (found.lag_bars, found.lag_s) == (bars, (minute - 10) * 60)


def test_the_series_that_is_furthest_behind_speaks_for_its_timeframe() -> None:
    found = fresh(state("A-B", 10), state("C-D", 4), state("E-F", 9), minute=10.5)["1m"]
    assert (found.series, found.lag_bars, found.lag_s, found.worst.symbol) == (3, 6, 390, "C-D")


def test_where_none_is_behind_the_one_with_most_gaps_is_named() -> None:
    found = fresh(state("A-B", 10), state("C-D", 10, gaps=1), minute=10)["1m"]
    assert (found.worst.symbol, found.gaps, found.coverage) == ("C-D", 1, 19 / 20)


def test_each_timeframe_counts_its_own_bars() -> None:
    hour = HOUR_MS // MINUTE_MS
    found = fresh(state("A-B", hour), state("A-B", hour, interval="1h"), minute=2.5 * hour)
    assert (found["1m"].lag_bars, found["1h"].lag_bars) == (90, 1)


def test_a_series_without_a_candle_neither_lags_nor_counts_as_whole() -> None:
    found = fresh(state("A-B", None), minute=10)["1m"]
    assert (found.series, found.lag_bars, found.lag_s, found.coverage) == (1, 0, 0, 0)


def test_a_clock_that_is_behind_makes_no_negative_lag() -> None:
    found = fresh(state("A-B", 10), minute=8)["1m"]
    assert (found.lag_bars, found.lag_s) == (0, 0)
