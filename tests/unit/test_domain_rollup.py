"""Roll-up against a slow model in decimals, and against itself in steps."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candles import START, candles, series
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.rollup import decimal_places, exact_sums, roll_up, whole_bars
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, timeframe

MINUTE = 60_000
PAIRS = [(fine, coarse) for coarse in TIMEFRAMES.values() for fine in TIMEFRAMES.values() if coarse.made_of(fine)]
STEPS = [(a, b, c) for a, b in PAIRS for m, c in PAIRS if m == b and a != b != c]


def thinned(batch: CandleBatch, rows: list[bool]) -> CandleBatch:
    """Without the rows for which ``rows`` says so; it repeats."""
    return batch.take(np.resize(np.array(rows), len(batch)))


def slow_sum(values: list[float]) -> float:
    """As decimals add up, and then the nearest double; NaN if one is."""
    if any(map(math.isnan, values)):
        return math.nan
    return float(sum(Decimal(repr(value)) for value in values))


def slow_roll_up(batch: CandleBatch, coarse: Timeframe, covered: Spans) -> dict[int, tuple[float, ...]]:
    """One bar after the other, in plain Python."""
    bars: dict[int, list[int]] = {}
    for row, time in enumerate(batch.open_time.tolist()):
        opened = coarse.floor(time)
        if covered.covers(Span(opened, coarse.close_of(opened))):
            bars.setdefault(opened, []).append(row)
    made = {}
    for opened, rows in bars.items():
        part = batch.take(np.array(rows))
        prices = part.open[0], max(part.high), min(part.low), part.close[-1]
        volumes = (slow_sum(column.tolist()) for column in (part.base_volume, part.quote_volume))
        made[opened] = (*map(float, prices), *volumes)
    return made


def rows_of(batch: CandleBatch) -> dict[int, tuple[float, ...]]:
    opens, *values = (column.tolist() for column in batch.columns().values())
    return {opened: row for opened, *row in zip(opens, *values, strict=True)}  # type: ignore[misc]


@given(
    pair=st.sampled_from(PAIRS),
    count=st.integers(1, 80),
    offset=st.integers(0, 40),
    seed=st.integers(0, 5),
    kept=st.lists(st.booleans(), min_size=1, max_size=9),
    cut=st.tuples(st.integers(0, 80), st.integers(1, 9)),
)
def test_a_roll_up_is_what_a_slow_model_in_decimals_makes(
    pair: tuple[Timeframe, Timeframe],
    count: int,
    offset: int,
    seed: int,
    kept: list[bool],
    cut: tuple[int, int],
) -> None:
    """Any pair of timeframes, holes among the rows, and holes in the coverage."""
    fine, coarse = pair
    start = fine.shift(fine.ceil(START), offset)
    batch = candles(series(interval=fine.name), count, start=start, seed=seed)
    first, last = fine.shift(start, cut[0]), fine.shift(start, cut[0] + cut[1])
    covered = Spans([batch.span] if batch.span else []) - Spans([Span(first, last)])
    given_rows = thinned(batch, kept)
    made, bars = roll_up(given_rows, coarse, covered)
    expected = slow_roll_up(given_rows, coarse, covered)
    assert made.series == replace(batch.series, timeframe=coarse)
    assert {opened: tuple(row) for opened, row in rows_of(made).items()} == expected
    assert bars == whole_bars(coarse, covered)
    assert bars - covered == Spans()


@given(steps=st.sampled_from(STEPS), offset=st.integers(0, 3_000), seed=st.integers(0, 3))
def test_a_roll_up_in_steps_is_the_same_as_in_one(
    steps: tuple[Timeframe, Timeframe, Timeframe], offset: int, seed: int
) -> None:
    """1m to 5m to 1h equals 1m to 1h, bit by bit, and so for every chain of timeframes."""
    fine, middle, coarse = steps
    batch = candles(series(interval=fine.name), 1_500, start=START + offset * MINUTE, seed=seed)
    assert batch.span is not None
    covered = Spans([batch.span])
    at_once, bars = roll_up(batch, coarse, covered)
    in_steps, bars_in_steps = roll_up(*_between(roll_up(batch, middle, covered), coarse))
    inside = np.isin(at_once.open_time, in_steps.open_time)
    assert bars_in_steps - bars == Spans()
    assert same_values(at_once.take(inside), in_steps).all()
    assert inside.all(), "a coarse bar is whole in the steps if it is whole in the finest"


def _between(made: tuple[CandleBatch, Spans], coarse: Timeframe) -> tuple[CandleBatch, Timeframe, Spans]:
    return made[0], coarse, made[1]


@given(
    units=st.lists(st.integers(0, 10**9), min_size=1, max_size=50),
    places=st.lists(st.integers(0, 6), min_size=1, max_size=50),
)
def test_volumes_add_up_as_decimals_do(units: list[int], places: list[int]) -> None:
    """0.1 + 0.2 is 0.3: the double nearest to the sum of the printed numbers, however they are mixed."""
    values = [unit / 10**digits for unit, digits in zip(units, places * len(units), strict=False)]
    [total] = exact_sums(np.array(values), np.array([0])).tolist()
    assert total == slow_sum(values)


def test_sums_beyond_fifteen_digits_are_still_the_nearest_double() -> None:
    """A month of large turnovers has more units than a double counts; whole numbers of any length take over."""
    values = [123_456_789_012.345] * 5_000
    assert exact_sums(np.array(values), np.array([0, 1])).tolist() == [values[0], slow_sum(values[1:])]


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=40))
def test_numbers_with_more_digits_than_a_double_holds_give_the_sum_of_the_doubles(values: list[float]) -> None:
    """There is no printed number to mean: the true sum of the doubles, off by half a unit in the last place at most."""
    values = [value / 3 for value in values]
    [total] = exact_sums(np.array(values), np.array([0])).tolist()
    assert abs(total - math.fsum(values)) <= math.ulp(math.fsum(values))


def test_one_odd_number_spoils_no_other_bar() -> None:
    """Each bar's sum depends on its own candles alone, whatever else is rolled up with them."""
    odd, plain = [1 / 3, 2 / 3], [0.1, 0.2]
    assert exact_sums(np.array(odd + plain), np.array([0, 2])).tolist() == [1.0, 0.3]


def test_a_turnover_that_one_minute_does_not_tell_is_not_told_of_its_bar() -> None:
    batch = candles(series(), 10)
    turnover = batch.quote_volume.copy()
    turnover[7] = np.nan
    batch = CandleBatch.of(batch.series, {**batch.columns(), "quote_volume": turnover})
    assert batch.span is not None
    made, _ = roll_up(batch, timeframe("5m"), Spans([batch.span]))
    assert made.quote_volume[0] == slow_sum(turnover[:5].tolist())
    assert np.isnan(made.quote_volume[1])
    assert not np.isnan(made.base_volume).any()


def test_a_covered_bar_without_any_candle_makes_none_and_is_known() -> None:
    """The exchange was asked for these minutes and had none: asking it again for the hour would give nothing."""
    hour = timeframe("1h")
    span = Span(START, START + 3 * 3_600_000)
    batch = candles(series(), 180).take(np.r_[0:60, 150:180])
    made, bars = roll_up(batch, hour, Spans([span]))
    assert made.open_time.tolist() == [START, START + 2 * 3_600_000]
    assert made.open[1] == batch.open[60], "a bar covered and partly empty is made of what there is"
    assert bars == Spans([span])


def test_a_bar_in_which_the_finer_history_begins_is_left_to_the_exchange() -> None:
    batch = candles(series(), 120, start=START + 7 * MINUTE)
    assert batch.span is not None
    made, bars = roll_up(batch, timeframe("1h"), Spans([batch.span]))
    assert made.open_time.tolist() == [START + 3_600_000]
    assert bars == Spans([Span(START + 3_600_000, START + 7_200_000)])


@pytest.mark.parametrize(
    ("coarse", "fine"), [("5m", "3m"), ("6h", "4h"), ("1M", "1w"), ("1m", "5m"), ("1w", "1M"), ("1d", "1w")]
)
def test_what_is_no_whole_number_of_bars_is_refused(coarse: str, fine: str) -> None:
    assert not timeframe(coarse).made_of(timeframe(fine))
    with pytest.raises(ValueError, match="no whole number"):
        roll_up(CandleBatch.empty(series(interval=fine)), timeframe(coarse), Spans())


def test_every_timeframe_is_made_of_minutes() -> None:
    assert all(coarse.made_of(timeframe("1m")) for coarse in TIMEFRAMES.values())


def test_the_fewest_decimals_are_found() -> None:
    assert decimal_places(np.array([1.5, 2.25, 3.0])) == 2
    assert decimal_places(np.array([1e-12])) == 12
    assert decimal_places(np.array([1 / 3])) is None
    assert decimal_places(np.array([])) == 0
