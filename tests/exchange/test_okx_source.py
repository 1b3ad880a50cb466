"""OKX as a source of candles: what a page proves and what it does not, where a history begins, the exchange's clock."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_okx import MINUTE, NOW, SmallOkx, candle, instrument, resets, says, series, serving

from chandlery.domain.instrument import Kind
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import HOUR_MS, TIMEFRAMES, Timeframe, timeframe
from chandlery.errors import BadPage, ExchangeError, ExchangeUnavailable, RequestRefused
from chandlery.exchange.okx import Endpoint, OkxSource
from chandlery.exchange.okx.probing import first_open_time
from chandlery.exchange.source import Page

T = TypeVar("T")
LAST = MINUTE.floor(NOW)
"""The minute that is still open."""


def minutes(*ago: int) -> list[int]:
    """Open times ``ago`` minutes before the open minute."""
    return [LAST - 60_000 * n for n in ago]


def span(oldest: int, newest: int) -> Span:
    """The minutes that opened ``oldest`` to ``newest`` minutes before the open one."""
    return Span(LAST - 60_000 * oldest, LAST - 60_000 * (newest - 1))


def using(okx: SmallOkx, act: Callable[[OkxSource], Awaitable[T]], **overrides: object) -> T:
    async def run() -> T:
        async with serving(okx, **overrides) as given, OkxSource(given) as source:
            return await act(source)

    return asyncio.run(run())


def page(okx: SmallOkx, asked: Span, kind: Kind = Kind.SPOT, **overrides: object) -> Page:
    return using(okx, lambda source: source.page(instrument(kind), series(), asked), **overrides)


def test_a_full_page_is_one_request_and_proves_all_it_was_asked_for() -> None:
    okx = SmallOkx.with_candles(*minutes(*range(1, 400)))
    got = page(okx, span(330, 31))
    assert got.rows.open_time.tolist() == minutes(*range(31, 331))
    assert got.answered == Spans([span(330, 31)])
    assert got.raw(5) == str(candle(minutes(36)[0])).replace("'", '"')
    (request,) = okx.asked()
    assert request.query["bar"] == "1m"
    assert request.query["limit"] == "300"


def test_the_first_and_the_last_candle_of_a_page_are_not_lost_between_pages() -> None:
    okx = SmallOkx.with_candles(*minutes(*range(1, 100)))

    async def all_pages(source: OkxSource) -> list[Page]:
        asked = source.pages(series(), Spans([span(99, 11)]))
        return await asyncio.gather(*(source.page(instrument(), series(), one) for one in asked))

    pages = using(okx, all_pages, page_size=7)
    times = [time for one in pages for time in one.rows.open_time.tolist()]
    assert times == minutes(*range(11, 100))
    assert Spans(s for one in pages for s in one.answered) == Spans([span(99, 11)])


@pytest.mark.parametrize(("kind", "volume"), [(Kind.SPOT, 7.5), (Kind.SWAP, 752.5), (Kind.FUTURES, 752.5)])
def test_the_base_volume_is_that_of_the_kind_of_instrument(kind: Kind, volume: float) -> None:
    got = page(SmallOkx.with_candles(*minutes(20)), span(20, 20), kind)
    assert got.rows.base_volume.tolist() == [volume]
    assert got.rows.quote_volume.tolist() == [753.25]


def test_recent_bars_are_asked_of_the_quick_endpoint_and_older_ones_of_the_history() -> None:
    okx = SmallOkx.with_candles(*minutes(10, 1430, 1431))
    for ago in (10, 1430, 1431):
        page(okx, span(ago, ago))
    assert [request.path for request in okx.asked()] == [
        Endpoint.CANDLES, Endpoint.CANDLES, Endpoint.HISTORY_CANDLES,
    ]  # fmt: skip


def test_the_open_candle_is_dropped_and_nothing_from_it_on_is_answered() -> None:
    okx = SmallOkx.with_candles(*minutes(*range(1, 20)))
    okx.rows[LAST] = candle(LAST, confirm="0")
    got = page(okx, span(19, 0))
    assert got.rows.open_time.tolist() == minutes(*range(1, 20))
    assert got.answered == Spans([span(19, 1)])


def test_an_unconfirmed_candle_further_back_stops_the_answer_there() -> None:
    okx = SmallOkx.with_candles(*minutes(*range(1, 20)))
    okx.rows[minutes(8)[0]][8] = "0"
    got = page(okx, span(19, 0))
    assert got.rows.open_time.tolist() == minutes(*range(9, 20))
    assert got.answered == Spans([span(19, 9)])


def test_a_hole_is_asked_for_once_more_and_filled_if_the_exchange_has_it_now() -> None:
    okx = SmallOkx.with_candles(*minutes(*range(20, 60)))
    short = [candle(time) for time in minutes(*range(20, 60)) if time not in minutes(30, 31, 33)]
    okx.script(says(short), endpoint=Endpoint.CANDLES)
    got = page(okx, span(59, 20))
    assert sorted(got.rows.open_time.tolist(), reverse=True) == minutes(*range(20, 60))
    assert got.answered == Spans([span(59, 20)])
    _, again = okx.asked()
    assert again.path == Endpoint.HISTORY_CANDLES
    assert (int(again.query["after"]), int(again.query["before"])) == (minutes(29)[0], minutes(33)[0] - 1)
    opens = got.rows.open_time.tolist()
    assert all(str(time) in got.raw(i) for i, time in enumerate(opens))


def test_bars_that_are_absent_twice_have_no_candle_and_count_as_answered() -> None:
    okx = SmallOkx.with_candles(*minutes(*range(20, 30), *range(40, 60)))
    got = page(okx, span(59, 20))
    assert got.rows.open_time.tolist() == minutes(*range(20, 30), *range(40, 60))
    assert got.answered == Spans([span(59, 20)])
    assert len(okx.asked()) == 2


def test_a_page_before_all_history_is_answered_by_two_empty_answers() -> None:
    okx = SmallOkx.with_candles(*minutes(5))
    assert page(okx, span(5000, 4900)).answered == Spans([span(5000, 4900)])
    assert len(okx.asked()) == 2


def test_absence_is_not_concluded_for_bars_that_closed_within_the_last_minutes() -> None:
    okx = SmallOkx.with_candles(*minutes(*range(5, 20)))
    got = page(okx, span(19, -10))
    assert got.rows.open_time.tolist() == minutes(*range(5, 20))
    assert got.answered == Spans([span(19, 4)])


def test_a_fresh_candle_counts_although_its_neighbour_has_not_come_yet() -> None:
    okx = SmallOkx.with_candles(*minutes(1, *range(3, 20)))
    got = page(okx, span(19, 0))
    assert got.answered == Spans([span(19, 3), span(1, 1)])
    assert len(okx.asked()) == 1, "a hole that proves nothing is not asked for again"


def test_a_history_that_lags_does_not_hide_the_last_candles() -> None:
    okx = SmallOkx.with_candles(*minutes(*range(1, 20)))
    okx.history_rows = {time: row for time, row in okx.rows.items() if time < minutes(3)[0]}
    assert page(okx, span(19, 1)).answered == Spans([span(19, 1)])


@pytest.mark.parametrize("second", [says(code="50026", status=500), says(b"<html>", status=502), resets])
def test_an_absence_is_never_concluded_from_an_answer_that_failed(second: object) -> None:
    okx = SmallOkx.with_candles(*minutes(*range(20, 30)))
    okx.script(second, second, endpoint=Endpoint.HISTORY_CANDLES)  # type: ignore[arg-type]
    with pytest.raises(ExchangeError):
        page(okx, span(59, 20), attempts=2)


@pytest.mark.parametrize(
    "ago",
    [(25, 26, 27, 28, 29, 30), (19, 20), (31, 30), (30, 29, 28), (20, 20), tuple(range(20, 32))],
    ids=["as if after were ignored", "too new", "too old", "not descending", "twice", "more than asked"],
)
def test_an_answer_that_contradicts_its_request_is_not_used(ago: tuple[int, ...]) -> None:
    okx = SmallOkx.with_candles(*minutes(*range(1, 60)))
    wrong = says([candle(time) for time in minutes(*ago)])
    okx.script(*[wrong] * 2, endpoint=Endpoint.CANDLES)
    with pytest.raises(BadPage):
        page(okx, span(24, 20) if ago[0] == 25 else span(30, 20), attempts=2)
    okx.script(wrong, endpoint=Endpoint.CANDLES)
    asked = span(24, 20) if ago[0] == 25 else span(30, 20)
    assert page(okx, asked).answered == Spans([asked])


def test_an_unknown_instrument_is_refused_with_its_code() -> None:
    okx = SmallOkx()
    okx.script(says(code="51001"))
    with pytest.raises(RequestRefused) as caught:
        page(okx, span(59, 20))
    assert caught.value.code == "51001"


@settings(max_examples=25, deadline=None)
@given(present=st.sets(st.integers(1, 40)), oldest=st.integers(1, 40), newest=st.integers(-3, 40))
def test_whatever_is_missing_the_answer_claims_no_more_than_was_proved(
    present: set[int], oldest: int, newest: int
) -> None:
    newest = min(oldest, newest)
    okx = SmallOkx.with_candles(*minutes(*present))
    got = page(okx, span(oldest, newest))
    inside = [time for time in minutes(*sorted(present)) if time in span(oldest, newest)]
    assert got.rows.open_time.tolist() == inside
    assert all(got.answered.covers(Span(time, time + 60_000)) for time in inside)
    settled = Span(0, LAST - 3 * 60_000)
    assert not Spans([span(oldest, newest)]) - got.answered & Spans([settled])
    for unproved in set(range(newest, oldest + 1)) - present:
        if unproved <= 3:
            assert minutes(unproved)[0] not in got.answered


@pytest.mark.parametrize("name", ["1m", "5m", "1h", "1d", "1w", "1M"])
def test_the_start_of_history_is_exact_to_the_bar_and_cheap(name: str) -> None:
    frame = timeframe(name)
    first = frame.floor(1_515_669_120_000)
    present = {frame.shift(first, n) for n in (*range(0, 4), *range(9, 40))}
    okx = SmallOkx.with_candles(*present)
    assert using(okx, lambda source: source.history_start(series(frame))) == first
    bars = frame.ordinal(NOW) - frame.ordinal(0)
    assert len(okx.asked()) <= math.ceil(math.log2(bars)) + 3
    assert {request.query["limit"] for request in okx.asked()} == {"1"}


@settings(max_examples=200, deadline=None)
@given(frame=st.sampled_from(list(TIMEFRAMES.values())), data=st.data())
def test_the_first_candle_is_found_whatever_holes_follow_it(frame: Timeframe, data: st.DataObject) -> None:
    end = frame.ordinal(NOW)
    ordinals = data.draw(st.sets(st.integers(max(frame.ordinal(0), end - 100_000), end), max_size=30))
    times = sorted(frame.open_at(n) for n in ordinals)
    guess = st.tuples(st.sampled_from(list(TIMEFRAMES.values())), st.integers(0, NOW) | st.sampled_from(times or [0]))
    guesses = [Span(other.floor(time), other.close_of(time)) for other, time in data.draw(st.lists(guess, max_size=5))]
    assert asyncio.run(first_open_time(frame, newest_of(times), guesses)) == (times[0] if times else None)


@pytest.mark.parametrize("other", ["1m", "5m", "1h", "1d", "1w", "1M"])
@pytest.mark.parametrize("name", ["1m", "1h", "1d", "1M"])
def test_whoever_knows_the_first_bar_of_another_timeframe_asks_little(name: str, other: str) -> None:
    """At its edges, inside of it, and twice more to be sure; of a finer bar only the edges are left."""
    frame, known, began = timeframe(name), timeframe(other), 1_515_669_120_000
    first = frame.floor(began)
    okx = SmallOkx.with_candles(*(frame.shift(first, n) for n in range(40)))
    guess = Span(known.floor(began), known.close_of(began))
    assert using(okx, lambda source: source.history_start(series(frame), [guess])) == first
    bars = frame.ordinal(frame.ceil(guess.end)) - frame.ordinal(guess.start)
    assert len(okx.asked()) <= 5 + math.ceil(math.log2(bars))


@pytest.mark.parametrize("guesses", [[], [Span(3 * HOUR_MS, 4 * HOUR_MS)]])
def test_one_wrong_nothing_older_does_not_cost_years_of_history(guesses: list[Span]) -> None:
    honest = newest_of(range(0, 5000 * HOUR_MS, HOUR_MS))

    def lying_at(number: int) -> Callable[[int | None], Awaitable[int | None]]:
        questions = itertools.count()

        async def newest_before(time: int | None) -> int | None:
            return None if next(questions) == number else await honest(time)

        return newest_before

    for number in range(20):
        assert asyncio.run(first_open_time(timeframe("1h"), lying_at(number), guesses)) == 0


def newest_of(times: Iterable[int]) -> Callable[[int | None], Awaitable[int | None]]:
    async def newest_before(time: int | None) -> int | None:
        return max((t for t in times if time is None or t < time), default=None)

    return newest_before


def test_a_listing_that_is_not_in_the_history_yet_is_found_among_the_recent_candles() -> None:
    okx = SmallOkx.with_candles(*minutes(0, 1, 2))
    okx.history_rows = {}
    assert using(okx, lambda source: source.history_start(series())) == minutes(2)[0]


def test_recent_candles_prove_a_beginning_that_is_younger_than_their_reach_and_no_other() -> None:
    """A history that answers nothing for a while must not cost the years before the last 1440 bars."""
    okx = SmallOkx.with_candles(*minutes(*range(1430)))
    okx.history_rows = {}
    assert using(okx, lambda source: source.history_start(series())) == minutes(1429)[0]
    okx = SmallOkx.with_candles(*minutes(*range(1440)))
    okx.history_rows = {}
    with pytest.raises(ExchangeUnavailable, match="no history") as caught:
        using(okx, lambda source: source.history_start(series()))
    assert caught.value.transient


@pytest.mark.parametrize(("ago", "reached"), [(29, True), (30, True), (31, False)])
def test_whether_the_history_reaches_back_to_a_time_counts_the_candle_that_opens_then(ago: int, reached: bool) -> None:
    okx = SmallOkx.with_candles(*minutes(*range(5, 31)))
    assert using(okx, lambda source: source.reaches_back_to(series(), minutes(ago)[0])) is reached
    assert len(okx.asked()) == 1


def test_a_series_without_any_candle_has_no_start() -> None:
    assert using(SmallOkx(), lambda source: source.history_start(series())) is None


def test_a_probe_that_makes_no_progress_is_an_error_and_no_endless_loop() -> None:
    okx = SmallOkx(always=says([candle(minutes(1)[0])]))
    with pytest.raises(BadPage, match="older than"):
        using(okx, lambda source: source.history_start(series()), attempts=2)


def test_instruments_of_all_three_kinds_are_listed_under_the_name_of_the_source() -> None:
    okx = SmallOkx(
        instruments={
            "SPOT": [{"instType": "SPOT", "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT"}],
            "SWAP": [{"instType": "SWAP", "instId": "BTC-USDT-SWAP", "uly": "BTC-USDT"}],
            "FUTURES": [{"instType": "FUTURES", "instId": "BTC-USDT-250808", "uly": "BTC-USDT"}],
        }
    )
    listed = using(okx, lambda source: source.instruments())
    assert [(one.symbol, one.kind) for one in listed] == [
        ("BTC-USDT", Kind.SPOT), ("BTC-USDT-SWAP", Kind.SWAP), ("BTC-USDT-250808", Kind.FUTURES),
    ]  # fmt: skip
    assert {one.exchange for one in listed} == {"okx-simulated"}


def test_the_clock_is_the_exchanges_whatever_ours_says_and_its_difference_is_told() -> None:
    async def run() -> tuple[list[int], list[float], int]:
        okx, ours, wall = SmallOkx(now=NOW), [1000.0], [NOW / 1000 - 1.5]
        clocks = {"wall_clock": lambda: wall[0], "clock": lambda: ours[0]}
        async with serving(okx, clock_age_s=60.0) as given, OkxSource(given, **clocks) as source:
            told, offsets = [await source.now()], [source.clock_offset_s]
            ours[0], wall[0] = ours[0] + 30.0, wall[0] - 3600.0
            told.append(await source.now())
            okx.now, ours[0] = NOW + 61_000, ours[0] + 30.0
            told.append(await source.now())
            offsets.append(source.clock_offset_s)
            return told, offsets, source.requests[Endpoint.TIME]

    told, offsets, requests = asyncio.run(run())
    assert told == [NOW, NOW + 30_000, NOW + 61_000]
    assert offsets == pytest.approx([1.5, 3662.5])
    assert requests == 2


def says_time(*seconds_ahead: int) -> SmallOkx:
    okx = SmallOkx(now=NOW)
    okx.script(*(says([{"ts": str(NOW + 1000 * ahead)}]) for ahead in seconds_ahead), endpoint=Endpoint.TIME)
    return okx


@pytest.mark.parametrize("answers", [(3600, 0, 0), (3600, 3600, 0), (0, 3600, 3600)])
def test_one_honest_reading_is_enough_not_to_believe_a_clock_that_runs_ahead(answers: tuple[int, ...]) -> None:
    now = using(says_time(*answers), lambda source: source.now())
    assert NOW - 1 <= now <= NOW + 1500


def test_a_simulated_time_far_from_ours_is_believed() -> None:
    years = -10 * 365 * 86_400
    now = using(says_time(years, years, years), lambda source: source.now())
    assert abs(now - NOW - years * 1000) < 1500


def test_when_the_clock_cannot_be_asked_again_the_old_reading_goes_on_and_the_first_one_is_needed() -> None:
    async def run() -> tuple[int, int]:
        okx, skipped = SmallOkx(now=NOW), [0.0]
        clocks = {"wall_clock": lambda: NOW / 1000, "clock": lambda: time.monotonic() + skipped[0]}
        async with serving(okx, attempts=1) as given, OkxSource(given, **clocks) as source:
            okx.script(resets, endpoint=Endpoint.TIME)
            with pytest.raises(ExchangeError):
                await source.now()
            first, skipped[0] = await source.now(), 100.0
            okx.script(resets, endpoint=Endpoint.TIME)
            return first, await source.now()

    first, later = asyncio.run(run())
    assert 0 <= first - NOW < 5_000
    assert 100_000 <= later - first < 105_000
