"""Lag, gaps and coverage of many series are those of their ledgers, summed up a timeframe."""

from __future__ import annotations

from candles import START, series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import HOUR_MS, MINUTE_MS, timeframe
from chandlery.services.metrics.freshness import Freshness, freshness, state_of
from chandlery.storage.coverage import LedgerEntry

MINUTE = timeframe("1m")


def entry(symbol: str, *minutes: tuple[int, int], begins_at: int | None = None, interval: str = "1m") -> LedgerEntry:
    spans = Spans(Span(START + start * MINUTE_MS, START + end * MINUTE_MS) for start, end in minutes)
    return LedgerEntry(
        series=series(symbol, interval),
        instrument_id=1,
        spans=spans,
        begins_at=None if begins_at is None else START + begins_at * MINUTE_MS,
        updated_at=START,
        last_error=None,
        derived=Spans(),
    )


def fresh(*entries: LedgerEntry, minute: float) -> dict[str, Freshness]:
    found = freshness(map(state_of, entries), int(START + minute * MINUTE_MS))
    return {bar.name: one for bar, one in found.items()}


def test_a_series_lags_by_the_bars_that_have_closed_since() -> None:
    for minute, bars in ((10, 0), (10.5, 0), (10.75, 0), (11, 1), (13.5, 3)):
        found = fresh(entry("A-B", (0, 10)), minute=minute)["1m"]
        assert (found.lag_bars, found.lag_s) == (bars, (minute - 10) * 60)


def test_the_series_that_is_furthest_behind_speaks_for_its_timeframe() -> None:
    found = fresh(entry("A-B", (0, 10)), entry("C-D", (0, 4)), entry("E-F", (0, 9)), minute=10.5)["1m"]
    assert (found.series, found.lag_bars, found.lag_s, found.worst.symbol) == (3, 6, 390, "C-D")


def test_where_none_is_behind_the_one_with_most_gaps_is_named() -> None:
    found = fresh(entry("A-B", (0, 10)), entry("C-D", (0, 4), (5, 10)), minute=10)["1m"]
    assert (found.worst.symbol, found.gaps, found.coverage) == ("C-D", 1, 19 / 20)


def test_what_lies_before_the_first_span_is_missing_only_where_a_beginning_was_proved() -> None:
    assert fresh(entry("A-B", (5, 10)), minute=10)["1m"].coverage == 1
    found = fresh(entry("A-B", (5, 10), begins_at=0), minute=10)["1m"]
    assert (found.gaps, found.coverage) == (1, 0.5)


def test_each_timeframe_counts_its_own_bars() -> None:
    hour = HOUR_MS // MINUTE_MS
    found = fresh(entry("A-B", (0, hour)), entry("A-B", (0, hour), interval="1h"), minute=2.5 * hour)
    assert (found["1m"].lag_bars, found["1h"].lag_bars) == (90, 1)


def test_a_series_without_a_candle_neither_lags_nor_counts_as_whole() -> None:
    found = fresh(entry("A-B"), minute=10)["1m"]
    assert (found.series, found.lag_bars, found.lag_s, found.coverage) == (1, 0, 0, 0)


def test_a_clock_that_is_behind_makes_no_negative_lag() -> None:
    found = fresh(entry("A-B", (0, 10)), minute=8)["1m"]
    assert (found.lag_bars, found.lag_s) == (0, 0)
