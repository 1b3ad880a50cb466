"""The arithmetic of Qlib's folder: names, calendars, columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candles import candles, series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, TIMEFRAMES
from chandlery.errors import DataValidationError
from chandlery.services.export_qlib.fields import Columns, Losses, dense
from chandlery.services.export_qlib.layout import (
    MAX_ROWS,
    Calendar,
    folder_of,
    freq_of,
    normal_freq,
    symbol_of,
    timeframe_of,
    whole_days,
)
from chandlery.services.export_qlib.reading import parse_times

NAMES = "1min 3min 5min 15min 30min 60min 120min 240min 360min 720min day 1week 1month"
bars = st.sampled_from(list(TIMEFRAMES.values()))


def test_every_timeframe_has_the_one_name_that_qlib_finds() -> None:
    """The name of the file must be what Qlib makes of it itself, or values are silently not found."""
    assert " ".join(freq_of(bar) for bar in TIMEFRAMES.values()) == NAMES
    for bar in TIMEFRAMES.values():
        assert normal_freq(freq_of(bar)) == freq_of(bar)
        assert timeframe_of(freq_of(bar)) is bar


@pytest.mark.parametrize(("spelled", "freq"), [("d", "day"), ("1d", "day"), ("W", "1week"), ("60minute", "60min")])
def test_other_spellings_mean_the_same_frequency(spelled: str, freq: str) -> None:
    assert freq_of(timeframe_of(spelled)) == freq


@pytest.mark.parametrize("freq", ["1h", "4h", "tick", "", "7min"])
def test_what_is_no_frequency_is_told_with_those_that_are(freq: str) -> None:
    with pytest.raises(DataValidationError, match="60min for 1h"):
        timeframe_of(freq)


@pytest.mark.parametrize(("symbol", "folder"), [("BTC-USDT", "btc-usdt"), ("CON", "_qlib_con"), ("LPT1", "_qlib_lpt1")])
def test_folders_are_lower_case_and_no_device_of_windows(symbol: str, folder: str) -> None:
    assert folder_of(symbol) == folder
    assert symbol_of(folder) == symbol


@given(bar=bars, first=st.integers(0, 600), length=st.integers(1, 300))
def test_a_calendar_has_every_bar_and_its_lines_read_back_as_its_times(bar, first: int, length: int) -> None:
    start = bar.ordinal(1_500_000_000_000) + first
    calendar = Calendar(bar, start, start + length - 1)
    lines = calendar.lines(0, 10) + calendar.lines(10, length)
    assert np.array_equal(parse_times(lines.encode()).astype("M8[ms]").astype(np.int64), calendar.open_times())
    assert np.array_equal(calendar.rows(calendar.open_times()), np.arange(length))
    assert bar.close_of(int(calendar.open_times()[-1])) == bar.open_at(start + length)


def test_a_calendar_that_float32_cannot_number_is_refused() -> None:
    Calendar(TIMEFRAMES["1m"], 0, MAX_ROWS - 1)
    with pytest.raises(DataValidationError, match="--since"):
        Calendar(TIMEFRAMES["1m"], 0, MAX_ROWS)


@given(start=st.integers(0, 10**13), length=st.integers(1, 10**9))
def test_the_span_of_an_instrument_is_whole_days_around_its_candles(start: int, length: int) -> None:
    first, last = whole_days(Span(start, start + length))
    assert first % DAY_MS == 0
    assert (last + 1000) % DAY_MS == 0
    assert first <= start < first + DAY_MS
    assert last - DAY_MS < start + length - 1 <= last + 999


def test_turnover_by_volume_is_vwap_and_the_close_where_nothing_was_traded() -> None:
    batch = candles(series(), 3)
    volume, turnover = np.array([2.0, 0.0, 3.0]), np.array([210.0, 0.0, np.nan])
    batch = type(batch).of(batch.series, {**batch.columns(), "base_volume": volume, "quote_volume": turnover})
    vwap = Columns().of(batch)["vwap"]
    assert vwap[0] == 105.0
    assert vwap[1] == batch.close[1]
    assert np.isnan(vwap[2])


def test_change_is_to_the_candle_before_whatever_lies_between_and_however_it_is_cut() -> None:
    batch = candles(series(), 20).take(np.array([0, 1, 2, 7, 8, 15, 19]))
    whole = Columns().of(batch)["change"]
    assert np.isnan(whole[0])
    assert np.array_equal(whole[1:], batch.close[1:] / batch.close[:-1] - 1)
    columns = Columns()
    parts = [columns.of(batch.take(slice(*cut)))["change"] for cut in ((0, 3), (3, 3), (3, 7))]
    assert np.array_equal(np.concatenate(parts), whole, equal_nan=True)


def test_what_is_not_there_is_nan_and_what_float32_loses_is_told() -> None:
    column = dense(np.array([1.0, 117_432.13]), np.array([1, 3]), 5)
    assert column.dtype == np.float32
    assert np.array_equal(np.isnan(column), [True, False, True, False, True])
    losses = Losses()
    losses.see({"close": np.array([117_432.13, np.nan, 0.0]), "amount": np.array([1e300])})
    assert losses.worst["close"] == pytest.approx(abs(float(np.float32(117_432.13)) / 117_432.13 - 1))
    assert losses.worst["amount"] == 1.0
