"""Bar arithmetic against a slow model that walks the calendar with datetime."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.span import Span
from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, timeframe
from chandlery.errors import DataValidationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2150, 1, 1), timezones=st.just(UTC))
ANY = st.sampled_from(list(TIMEFRAMES.values()))


def ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def slow_open(name: str, moment: datetime) -> datetime:
    """The open of the bar with ``moment`` in it, by the calendar."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if name == "1M":
        return midnight.replace(day=1)
    if name == "1w":
        return midnight - timedelta(days=moment.weekday())
    step = int(name[:-1]) * UNITS[name[-1]]  # every other one divides the day
    return midnight + (moment - midnight) // step * step


def slow_close(name: str, moment: datetime) -> datetime:
    opened = slow_open(name, moment)
    if name == "1M":
        return (opened + timedelta(days=32)).replace(day=1)
    return opened + int(name[:-1]) * UNITS[name[-1]]


@given(ANY, MOMENTS)
def test_open_and_close_are_those_of_the_calendar(bar: Timeframe, moment: datetime) -> None:
    time = ms(moment)
    opened, closed = ms(slow_open(bar.name, moment)), ms(slow_close(bar.name, moment))
    assert bar.floor(time) == opened
    assert bar.close_of(time) == bar.close_of(opened) == closed
    assert bar.ceil(time) == (time if time == opened else closed)
    assert bar.floor(opened) == bar.ceil(opened) == opened
    assert bar.floor(closed - 1) == opened


@given(ANY, MOMENTS, st.integers(-400, 400))
def test_bars_are_numbered_without_a_gap(bar: Timeframe, moment: datetime, bars: int) -> None:
    opened = bar.floor(ms(moment))
    number = bar.ordinal(opened)
    assert bar.open_at(number) == opened
    assert bar.ordinal(bar.close_of(opened)) == number + 1
    assert bar.ordinal(bar.close_of(opened) - 1) == number
    assert bar.shift(opened, bars) == bar.open_at(number + bars)
    assert bar.shift(bar.shift(opened, bars), -bars) == opened
    assert bar.shift(opened, 1) == bar.close_of(opened)


@given(ANY, st.lists(MOMENTS, max_size=20))
def test_arrays_give_what_their_elements_give(bar: Timeframe, moments: list[datetime]) -> None:
    times = [ms(moment) for moment in moments]
    column = np.array(times, dtype=np.int64)
    for function in (bar.ordinal, bar.floor, bar.close_of):
        result = function(column)
        assert result.dtype == np.int64
        assert result.tolist() == [function(time) for time in times]
    ordinals = bar.ordinal(column)
    assert bar.open_at(ordinals).tolist() == [bar.open_at(int(number)) for number in ordinals]
    assert all(type(function(time)) is int for time in times for function in (bar.ordinal, bar.floor, bar.close_of))


@given(ANY, MOMENTS, st.integers(0, 40), st.integers(1, 10**9))
def test_the_grid_is_every_whole_bar_of_a_span_and_count_its_length(
    bar: Timeframe, moment: datetime, bars: int, extra: int
) -> None:
    start = ms(moment)
    length = bar.shift(start, bars) - bar.floor(start) + 1 + extra % (bar.step_ms or 10**9)
    span = Span(start, start + length)
    expected, walked = [], bar.ceil(span.start)
    while bar.close_of(walked) <= span.end:
        expected.append(walked)
        walked = bar.close_of(walked)
    assert bar.grid(span).tolist() == expected
    assert bar.count(span) == len(expected)
    aligned = bar.aligned(span)
    assert aligned == (Span(expected[0], bar.close_of(expected[-1])) if expected else None)


def test_months_have_their_own_lengths_and_weeks_open_on_monday() -> None:
    def at(*parts: int) -> int:
        return ms(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type, misc]

    month, week = timeframe("1M"), timeframe("1w")
    assert month.close_of(at(2024, 2, 1)) == at(2024, 3, 1)
    assert month.close_of(at(1969, 12, 31, 23)) == at(1970, 1, 1)
    assert week.floor(at(2024, 1, 7, 23, 59)) == at(2024, 1, 1)
    assert week.floor(at(1970, 1, 1)) == at(1969, 12, 29)


def test_there_are_thirteen_timeframes_from_the_shortest_to_the_longest() -> None:
    assert " ".join(TIMEFRAMES) == "1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w 1M"
    assert all(timeframe(name) is known and str(known) == name for name, known in TIMEFRAMES.items())


@pytest.mark.parametrize(("name", "told"), [("1H", "'1h'"), ("60min", "1m, 3m"), ("", "1m, 3m"), (" 1m", "1m, 3m")])
def test_any_other_name_is_refused_with_those_that_exist(name: str, told: str) -> None:
    with pytest.raises(DataValidationError, match=told):
        timeframe(name)
