from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.candle import COLUMNS, VALUE_COLUMNS, CandleBatch, CandleRows, Rejected, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES

JANUARY_2024 = 1_704_067_200_000
NUMBERS = st.lists(st.integers(-30, 30), unique=True, max_size=25).map(sorted)
ANY = st.sampled_from(list(TIMEFRAMES))


def series(timeframe: str = "1m") -> Series:
    return Series("okx", "BTC-USDT", TIMEFRAMES[timeframe])


def batch(timeframe: str, numbers: list[int]) -> CandleBatch:
    """Candles of the bars with these numbers, counted from January 2024, their values told by the number."""
    bar = TIMEFRAMES[timeframe]
    first = bar.ordinal(JANUARY_2024)
    opens = bar.open_at(np.array([first + number for number in numbers], dtype=np.int64))
    return CandleBatch.of(series(timeframe), {"open_time": opens, **dict.fromkeys(VALUE_COLUMNS, numbers)})


def numbers_of(candles: CandleRows) -> list[int]:
    return [int(value) for value in candles.close]


@given(ANY, NUMBERS)
def test_runs_are_exactly_the_spans_of_the_candles_held(timeframe: str, numbers: list[int]) -> None:
    bar, candles = TIMEFRAMES[timeframe], batch(timeframe, numbers)
    held = Spans(Span(int(time), bar.close_of(int(time))) for time in candles.open_time)
    assert candles.runs() == held
    assert candles.span == held.hull
    assert sum(bar.count(run) for run in candles.runs()) == len(numbers)


@given(ANY, NUMBERS, st.data())
def test_taking_rows_by_mask_position_or_slice_keeps_their_values(
    timeframe: str, numbers: list[int], data: st.DataObject
) -> None:
    candles = batch(timeframe, numbers)
    picked = data.draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers)))
    mask = np.array(picked, dtype=np.bool_)
    expected = [number for number, keep in zip(numbers, picked, strict=True) if keep]
    assert numbers_of(candles.take(mask)) == numbers_of(candles.take(np.flatnonzero(mask))) == expected
    cut = data.draw(st.integers(0, len(numbers)))
    assert numbers_of(candles.take(slice(cut))) == numbers[:cut]
    assert isinstance(candles.take(mask), CandleBatch)


@given(ANY, NUMBERS, st.lists(st.integers(0, 25), max_size=4).map(sorted))
def test_batches_cut_in_pieces_and_joined_are_the_same(timeframe: str, numbers: list[int], cuts: list[int]) -> None:
    whole = batch(timeframe, numbers)
    edges = [0, *cuts, len(numbers)]
    pieces = [whole.take(slice(a, b)) for a, b in itertools.pairwise(edges)]
    joined = CandleBatch.joined(series(timeframe), pieces)
    assert joined.open_time.tolist() == whole.open_time.tolist()
    assert same_values(joined, whole).all()


def test_joining_nothing_is_an_empty_batch() -> None:
    empty = CandleBatch.joined(series(), [])
    assert (len(empty), empty.span, empty.runs()) == (0, None, Spans())


@pytest.mark.parametrize(
    ("times", "told"),
    [([60_000, 0], "ascend"), ([0, 0], "ascend"), ([1], "align"), ([-1], "align"), ([0, 60_001], "align")],
)
def test_a_batch_that_is_not_ascending_unique_and_aligned_cannot_be_made(times: list[int], told: str) -> None:
    columns = {"open_time": times, **dict.fromkeys(VALUE_COLUMNS, [1.0] * len(times))}
    with pytest.raises(ValueError, match=told):
        CandleBatch.of(series(), columns)
    assert len(CandleRows.of(series(), columns)) == len(times)


def test_columns_of_different_lengths_cannot_be_made_into_rows() -> None:
    with pytest.raises(ValueError, match="lengths"):
        CandleRows.of(series(), {**dict.fromkeys(COLUMNS, (1,)), "close": (1, 2)})


def test_columns_of_the_right_type_are_taken_without_a_copy() -> None:
    columns = {name: np.arange(3, dtype=np.float64) for name in VALUE_COLUMNS}
    rows = CandleRows.of(series(), {"open_time": np.arange(3, dtype=np.int64), **columns})
    assert all(np.shares_memory(getattr(rows, name), columns[name]) for name in VALUE_COLUMNS)


def test_a_value_that_was_not_told_equals_one_that_was_not_told() -> None:
    nan = float("nan")
    left = CandleRows.of(series(), {**dict.fromkeys(COLUMNS, (1, 1, 1)), "quote_volume": [nan, nan, 1.0]})
    right = CandleRows.of(series(), {**dict.fromkeys(COLUMNS, (1, 1, 1)), "quote_volume": [nan, 1.0, 2.0]})
    assert same_values(left, right).tolist() == [True, False, False]


def test_rejected_rows_add_up_in_order() -> None:
    one = Rejected(series=series(), open_time=[1], reason=["a"], raw=["x"])
    two = Rejected(series=series(), open_time=[None], reason=["b"], raw=["y"])
    total = one + two
    assert (total.open_time, total.reason, total.raw, len(total)) == ([1, None], ["a", "b"], ["x", "y"], 2)
