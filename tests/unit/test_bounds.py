"""The two ends of a query mean what they mean in pandas' ``.loc``, both included."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.errors import DataValidationError
from chandlery.storage.intake.bounds import parse_bound

START = 1_704_067_200_000  # 2024-01-01
HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("2024", START, START + 366 * DAY - 1),
        ("2024-01", START, START + 31 * DAY - 1),
        ("2024-01-01", START, START + DAY - 1),
        ("2024-01-01T00", START, START + HOUR - 1),
        ("2024-01-01 00:00", START, START + 60_000 - 1),
        ("2024-01-01T00:00:00", START, START + 1000 - 1),
        ("2024-01-01T00:00:00Z", START, START + 1000 - 1),
        ("2024-01-01T08:00+08:00", START, START + 60_000 - 1),
        ("2023-12-31T19:00-05", START, START + 60_000 - 1),
        ("2024-01-01T00:00:00.000", START, START),
        ("2024-01-01T00:00:00.0005", START + 1, START),
        (date(2024, 1, 1), START, START + DAY - 1),
        (datetime(2024, 1, 1), START, START),
        (datetime(2024, 1, 1, tzinfo=UTC), START, START),
        (datetime(2024, 1, 1, 8, tzinfo=timezone(timedelta(hours=8))), START, START),
        (datetime(2024, 1, 1, microsecond=1), START + 1, START),
        (pd.Timestamp("2024-01-01"), START, START),
        (pd.Timestamp("2024-01-01 08:00", tz="Asia/Hong_Kong"), START, START),
        (pd.Timestamp("2024-01-01 00:00:00.000000001"), START + 1, START),
        (np.datetime64("2024-01-01"), START, START),
        (START, START, START),
        (np.int64(START), START, START),
        ("1969-12-31", -DAY, -1),
        (datetime.min, -62_135_596_800_000, -62_135_596_800_000),
        (datetime.max, 253_402_300_800_000, 253_402_300_799_999),
    ],
)
def test_a_bound_is_the_first_or_the_last_millisecond_of_what_it_names(value: object, start: int, end: int) -> None:
    assert parse_bound(value, "start") == start
    assert parse_bound(value, "end") == end


@given(st.datetimes(datetime(2009, 1, 1), datetime(2099, 1, 1)), st.sampled_from([4, 7, 10, 13, 16, 19]))
def test_text_of_any_length_picks_what_pandas_picks(moment: datetime, length: int) -> None:
    text = moment.isoformat()[:length]
    period = pd.Period(text, freq={4: "Y", 7: "M", 10: "D", 13: "h", 16: "min", 19: "s"}[length])
    assert parse_bound(text, "start") == int(period.start_time.timestamp() * 1000)
    assert parse_bound(text, "end") == int((period + 1).start_time.timestamp() * 1000) - 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "now",
        "2024-13",
        "2024-02-30",
        "2024-1-1",
        "20240101",
        "2024-01-01T25",
        "２０２４",
        "2024-01-01T00:00+25:00",
        *("9999", "9999-12", None, True, 1.5, float("nan"), pd.NaT, np.datetime64("NaT"), [], b"2024"),
    ],
)
def test_anything_else_is_refused_with_examples(value: object) -> None:
    with pytest.raises(DataValidationError, match="2024-01-31") as caught:
        parse_bound(value, "end")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (START // 1000, "seconds"),
        (START * 10**6, "nanoseconds"),
        (0, "2009"),
        pytest.param(10**5000, "2009", id="long"),
        (-1, "2009"),
    ],
)
def test_a_number_that_is_no_plausible_millisecond_is_refused(value: int, told: str) -> None:
    with pytest.raises(DataValidationError, match=told):
        parse_bound(value, "start")
