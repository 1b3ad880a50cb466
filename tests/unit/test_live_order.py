"""Streamed candles reach their reader in order, each once, whatever the order in which they became known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candles import START, candles, series
from chandlery.domain.instrument import Instrument, Kind
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import DAY_MS, MINUTE_MS
from chandlery.exchange.stream import Pushed
from chandlery.services.live.order import InOrder
from chandlery.services.live.tail import Tail, begins_at
from chandlery.services.live.waiting import WaitingRoom
from chandlery.storage.writer import Delivery

SERIES = series()
SOURCE = candles(SERIES, 30)
BARS = list(range(len(SOURCE)))


def delivery(bars: slice, *, without: frozenset[int] = frozenset()) -> Delivery:
    """These bars are known; those of ``without`` have no candle."""
    part = SOURCE.take(bars)
    numbers = np.arange(len(SOURCE))[bars]
    return Delivery(batch=part.take(~np.isin(numbers, list(without))), covered=part.runs())


@given(st.permutations(BARS), st.frozensets(st.sampled_from(BARS)), st.lists(st.sampled_from(BARS)))
def test_every_candle_once_and_in_order(arrivals: list[int], absent: frozenset[int], again: list[int]) -> None:
    turn = InOrder(START)
    seen: list[int] = []
    for bar in [*arrivals, *again]:
        for batch in turn.let_through(delivery(slice(bar, bar + 1), without=absent)):
            seen += batch.open_time.tolist()
    assert seen == [START + bar * MINUTE_MS for bar in BARS if bar not in absent]


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(1, 10)), min_size=1))
def test_nothing_passes_before_what_is_not_known_yet(pages: list[tuple[int, int]]) -> None:
    turn, known = InOrder(START), Spans()
    for first, count in pages:
        page = delivery(slice(first, first + count))
        known |= page.covered
        let = [time for batch in turn.let_through(page) for time in batch.open_time.tolist()]
        assert all(known.covers(Span(START, time + MINUTE_MS)) for time in let)


def pushed(bar: int, symbol: str = "BTC-USDT") -> Pushed:
    rows = candles(series(symbol), 30).take(slice(bar, bar + 1))
    return Pushed(series=rows.series, rows=rows, confirmed=True, raw=lambda _: f"row {bar}", received_s=float(bar))


def test_the_waiting_room_joins_by_series_and_keeps_the_raw_text() -> None:
    room = WaitingRoom(10)
    for bar in (0, 1):
        assert room.enter(pushed(bar))
        assert room.enter(pushed(bar, "ETH-USDT"))

    bitcoin, ether = room.leave()

    assert bitcoin.rows().open_time.tolist() == [START, START + MINUTE_MS]
    assert [ether.raw(0), ether.raw(1)] == ["row 0", "row 1"]
    assert bitcoin.received_s == [0.0, 1.0]
    assert len(room) == 0


def test_a_full_waiting_room_takes_nobody_and_loses_nobody() -> None:
    room = WaitingRoom(2)
    assert [room.enter(pushed(bar)) for bar in range(4)] == [True, True, False, False]
    assert room.leave()[0].rows().open_time.tolist() == [START, START + MINUTE_MS]
    assert room.enter(pushed(3))


def test_a_tail_misses_what_has_closed_and_is_not_known() -> None:
    tail = Tail(instrument=_instrument(), series=SERIES, begins_at=START, known=Spans())
    assert not tail.missing(START + MINUTE_MS - 1)
    tail.learnt(Spans([Span(START, START + MINUTE_MS)]), 1, now_s=0.0)
    missing = tail.missing(START + 3 * MINUTE_MS + 1)
    assert missing == Spans([Span(START + MINUTE_MS, START + 3 * MINUTE_MS)])


def test_candles_a_minute_forgets_what_is_older() -> None:
    tail = Tail(instrument=_instrument(), series=SERIES, begins_at=START, known=Spans())
    for second in (0.0, 30.0, 59.0):
        tail.learnt(Spans(), 1, now_s=second)
    assert [tail.candles_a_minute(now_s) for now_s in (59.0, 61.0, 200.0)] == [3, 2, 0]


NOW = START + 40 * DAY_MS + 1


@pytest.mark.parametrize(
    ("covered", "since", "expected"),
    [
        pytest.param(Spans(), None, NOW - 1, id="a new series begins with the bar that is open"),
        pytest.param(Spans(), START, START, id="since is believed"),
        pytest.param(Spans([Span(START, START + DAY_MS)]), None, START + DAY_MS, id="the newest stored candle goes on"),
        pytest.param(
            Spans([Span(START, NOW - 1)]), None, NOW - 1 - 30 * DAY_MS, id="holes of the last 30 days are looked for"
        ),
        pytest.param(
            Spans([Span(START - 900 * DAY_MS, START - 800 * DAY_MS), Span(NOW - 1 - 7 * DAY_MS, NOW - 1)]),
            None,
            NOW - 1 - 30 * DAY_MS,
            id="a gap of years is not fetched",
        ),
        pytest.param(
            Spans([Span(NOW - 1 - 2 * MINUTE_MS, NOW - 1)]),
            None,
            NOW - 1 - 2 * MINUTE_MS,
            id="nothing before the first covered bar",
        ),
    ],
)
def test_where_a_tail_begins(covered: Spans, since: int | None, expected: int) -> None:
    assert begins_at(SERIES, covered, NOW, since) == expected


def _instrument() -> Instrument:
    return Instrument(
        exchange="okx",
        symbol="BTC-USDT",
        kind=Kind.SPOT,
        base="BTC",
        quote="USDT",
        settle="",
        tick_size="0.1",
        lot_size="0.00000001",
        contract_value=None,
        listed_at=None,
        expires_at=None,
        state="live",
    )
