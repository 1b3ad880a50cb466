"""Where a series stands is told as its ledger has it, by the server alone."""

from __future__ import annotations

import pytest

from candles import START, candles, series
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import MINUTE_MS
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.series_states import ChosenSeries, SeriesState, series_states
from chandlery.storage.writer import Delivery

ALL = ChosenSeries(exchange="okx", symbols=(), timeframes=())


def cover(storage: PostgreSQLStorage, of: Series, *minutes: tuple[int, int]) -> None:
    spans = Spans(Span(START + start * MINUTE_MS, START + end * MINUTE_MS) for start, end in minutes)
    storage.writer.write([Delivery(batch=candles(of, 1), covered=spans)])


@pytest.mark.parametrize(
    ("minutes", "begins_at", "gaps", "covered", "known"),
    [
        ([(0, 10)], None, 0, 10, 10),
        ([(0, 4), (5, 10)], None, 1, 9, 10),
        ([(5, 10)], None, 0, 5, 5),
        ([(5, 10)], 0, 1, 5, 10),
        ([(5, 6), (9, 10)], 0, 2, 2, 10),
        ([(0, 10)], 0, 0, 10, 10),
    ],
)
def test_gaps_and_lengths_count_from_the_proved_beginning(
    storage: PostgreSQLStorage,
    minutes: list[tuple[int, int]],
    begins_at: int | None,
    gaps: int,
    covered: int,
    known: int,
) -> None:
    of = series()
    cover(storage, of, *minutes)
    if begins_at is not None:
        storage.ledger.remember_beginning(of, START + begins_at * MINUTE_MS)
    [state] = series_states(storage.database, ALL)
    end = START + 10 * MINUTE_MS
    assert state == SeriesState(series=of, end=end, gaps=gaps, covered_s=covered * 60, known_s=known * 60)


def test_a_series_of_which_nothing_is_covered_has_no_end(storage: PostgreSQLStorage) -> None:
    storage.ledger.remember_beginning(series(), START)
    [state] = series_states(storage.database, ALL)
    assert (state.end, state.gaps, state.covered_s, state.known_s) == (None, 0, 0, 0)


def test_only_chosen_series_are_told(storage: PostgreSQLStorage) -> None:
    for exchange in ("okx", "okx-demo"):
        for symbol in ("BTC-USDT", "ETH-USDT"):
            for bar in ("1m", "1h"):
                cover(storage, series(symbol, bar, exchange), (0, 60))
    chosen = ChosenSeries(exchange="okx", symbols=("ETH-USDT",), timeframes=("1h", "1d"))
    assert [state.series for state in series_states(storage.database, chosen)] == [series("ETH-USDT", "1h")]
    assert len(series_states(storage.database, ALL)) == 8
