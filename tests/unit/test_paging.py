from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, MINUTE_MS, TIMEFRAMES, Timeframe, timeframe
from chandlery.errors import BadPage
from chandlery.exchange.okx.paging import Window, check, holes, is_recent, pages, settled_until

FRAMES = st.sampled_from(list(TIMEFRAMES.values()))
TIMES = st.integers(1_500_000_000_000, 1_700_000_000_000)
MINUTE = timeframe("1m")
NOON = 1_600_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2


@st.composite
def bars(draw: st.DrawFn) -> tuple[Timeframe, Span]:
    frame, count = draw(FRAMES), draw(st.integers(1, 300))
    start = frame.floor(draw(TIMES))
    return frame, Span(start, frame.shift(start, count))


@given(frame=FRAMES, start=TIMES, counts=st.lists(st.integers(1, 700), max_size=4), page_size=st.integers(1, 300))
def test_pages_are_exactly_the_missing_bars_newest_first_and_small_enough(
    frame: Timeframe, start: int, counts: list[int], page_size: int
) -> None:
    spans, time = [], frame.floor(start)
    for count in counts:
        spans.append(Span(time, frame.shift(time, count)))
        time = frame.shift(time, count + 5)
    cut = list(pages(frame, Spans(spans), page_size))
    assert Spans(cut) == Spans(spans)
    assert all(frame.aligned(page) == page and 1 <= frame.count(page) <= page_size for page in cut)
    assert all(later.start >= earlier.end for later, earlier in itertools.pairwise(cut))


def test_a_span_without_a_whole_bar_gives_no_page() -> None:
    assert list(pages(timeframe("1h"), Spans([Span(NOON + 1, NOON + HOUR_MS)]))) == []


def test_months_are_cut_by_the_calendar() -> None:
    month = timeframe("1M")
    span = Span(month.floor(NOON), month.shift(NOON, 3))
    february = next(iter(pages(month, Spans([span]), page_size=2)))
    assert month.count(february) == 2
    assert month.floor(february.start) == february.start


@given(bars())
def test_a_window_bounds_its_bars_exclusively_on_both_sides(asked: tuple[Timeframe, Span]) -> None:
    frame, span = asked
    window, grid = Window.of(frame, span), frame.grid(span)
    inside = [t for t in (frame.shift(span.start, -1), *grid, span.end) if window.before < t < window.after]
    assert inside == list(grid)
    assert window.page_size == len(grid)


@pytest.mark.parametrize("span", [Span(NOON + 1, NOON + MINUTE_MS), Span(NOON, NOON + 301 * MINUTE_MS)])
def test_a_window_refuses_what_one_request_cannot_hold(span: Span) -> None:
    with pytest.raises(ValueError, match="whole bars"):
        Window.of(MINUTE, span)


@given(bars(), st.randoms())
def test_holes_and_rows_make_up_the_span_together(asked: tuple[Timeframe, Span], random: object) -> None:
    frame, span = asked
    grid = frame.grid(span)
    kept = grid[np.array([random.random() < 0.8 for _ in grid])][::-1]  # type: ignore[attr-defined]
    check(frame, span, kept)
    found = holes(frame, span, kept)
    rows = Spans(Span(int(t), frame.close_of(int(t))) for t in kept)
    assert found | rows == Spans([span])
    assert not found & rows


def test_a_row_off_the_grid_fills_its_bar() -> None:
    span = Span(NOON, NOON + 3 * MINUTE_MS)
    off = np.array([NOON + 2 * MINUTE_MS + 500, NOON])
    assert holes(MINUTE, span, off) == Spans([Span(NOON + MINUTE_MS, NOON + 2 * MINUTE_MS)])


@pytest.mark.parametrize(
    ("opens", "because"),
    [
        ([3, 2, 1, 0, -1], "instead of 4 at most"),
        ([4, 3], "outside"),
        ([0, -1], "outside"),
        ([1, 2], "newest first"),
        ([3, 2, 2], "twice"),
    ],
)
def test_rows_that_contradict_the_request_make_a_bad_page(opens: list[int], because: str) -> None:
    asked = Span(NOON, NOON + 4 * MINUTE_MS)
    with pytest.raises(BadPage, match=because) as caught:
        check(MINUTE, asked, NOON + np.array(opens) * MINUTE_MS)
    assert caught.value.transient


def test_an_empty_answer_contradicts_nothing_and_is_one_hole() -> None:
    asked = Span(NOON, NOON + 4 * MINUTE_MS)
    check(MINUTE, asked, np.array([], dtype=np.int64))
    assert holes(MINUTE, asked, np.array([], dtype=np.int64)) == Spans([asked])


def test_recent_candles_reach_back_1440_bars_less_a_margin() -> None:
    assert is_recent(MINUTE, Span(NOON - 1430 * MINUTE_MS, NOON), NOON)
    assert not is_recent(MINUTE, Span(NOON - 1431 * MINUTE_MS, NOON), NOON)
    assert is_recent(timeframe("1M"), Span(0, timeframe("1M").close_of(0)), NOON)


def test_absence_proves_nothing_for_bars_that_closed_within_three_minutes() -> None:
    until = settled_until(MINUTE, NOON + 30_000)
    assert MINUTE.close_of(until) > NOON + 30_000 - 3 * MINUTE_MS
    assert until <= NOON + 30_000 - 3 * MINUTE_MS
