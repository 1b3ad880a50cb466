"""What users hand in as frames is understood, or refused with a sentence; never guessed."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.candle import VALUE_COLUMNS, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import timeframe
from chandlery.errors import DataValidationError
from chandlery.storage.intake.frames import FrameRows, candles_frame, rows_from_frame

START = 1_704_067_200_000  # 2024-01-01
MINUTE = 60_000
SERIES = Series("okx", "BTC-USDT", timeframe("1m"))


def frame(rows: int = 3, **columns: Any) -> pd.DataFrame:
    """A good frame; ``columns`` replace its own, and None takes one out."""
    good = {
        "timestamp": START + MINUTE * np.arange(rows),
        "open": np.arange(rows) + 100.5,
        "high": np.arange(rows) + 101.0,
        "low": np.arange(rows) + 99.0,
        "close": np.arange(rows) + 100.0,
        "volume": np.arange(rows) + 0.25,
    }
    return pd.DataFrame({name: values for name, values in {**good, **columns}.items() if values is not None})


def read(df: pd.DataFrame) -> FrameRows:
    return rows_from_frame(df, SERIES)


def with_times(times: Any) -> FrameRows:
    return read(frame(len(times), timestamp=times))


def with_values(values: Any) -> FrameRows:
    return read(frame(len(values), open=values))


def refusal(df: Any) -> str:
    with pytest.raises(DataValidationError) as caught:
        rows_from_frame(df, SERIES)
    return str(caught.value)


# --- columns


def test_a_plain_frame_is_taken_as_it_is_and_quote_volume_is_not_told() -> None:
    rows = read(frame()).rows
    assert rows.series == SERIES
    assert rows.open_time.tolist() == [START, START + MINUTE, START + 2 * MINUTE]
    assert rows.base_volume.tolist() == [0.25, 1.25, 2.25]
    assert np.isnan(rows.quote_volume).all()


def test_columns_may_be_spelled_in_several_ways_and_further_ones_are_ignored() -> None:
    names = {"timestamp": "open_time", "open": "open_price", "volume": "base_volume", "close": "close_price"}
    renamed = frame(quote_volume=[1.0, 2.0, None], trades=[1, 2, 3]).rename(columns=names)
    rows = read(renamed).rows
    assert rows.open.tolist() == [100.5, 101.5, 102.5]
    assert rows.quote_volume[:2].tolist() == [1.0, 2.0]
    assert np.isnan(rows.quote_volume[2])


@pytest.mark.parametrize("index", ["timestamp", "ts", None, "anything"])
def test_the_time_may_be_the_index(index: str | None) -> None:
    df = frame(timestamp=None)
    df.index = pd.DatetimeIndex(pd.to_datetime(START + MINUTE * np.arange(3), unit="ms", utc=True), name=index)
    assert read(df).rows.open_time.tolist() == [START, START + MINUTE, START + 2 * MINUTE]


def test_an_index_of_milliseconds_is_the_time_if_it_is_called_so() -> None:
    assert len(read(frame().set_index("timestamp")).rows) == 3


def test_what_is_missing_is_named_with_what_was_found() -> None:
    message = refusal(frame(close=None, timestamp=None))
    assert "timestamp or open_time or ts or date or datetime; close or close_price" in message
    assert "Found: open, high, low, volume" in message


@pytest.mark.parametrize(
    "df",
    [
        frame(open_price=[1.0, 2.0, 3.0]),
        frame(base_volume=[1.0, 2.0, 3.0]),
        frame(ts=[1, 2, 3]),
        frame().set_index("timestamp", drop=False),
        pd.concat([frame(), frame()[["open"]]], axis=1),
    ],
)
def test_the_same_thing_twice_is_refused(df: pd.DataFrame) -> None:
    assert "both say what" in refusal(df)


def test_only_a_frame_is_a_frame() -> None:
    assert "not list" in refusal([1, 2])


@pytest.mark.parametrize("df", [pd.DataFrame(), frame(0), frame(0, timestamp=pd.to_datetime([]))])
def test_an_empty_frame_has_no_rows(df: pd.DataFrame) -> None:
    assert len(read(df).rows) == len(read(df).rejected) == 0


def test_candles_of_another_series_are_not_stored_under_this_name() -> None:
    assert len(read(frame(symbol="BTC/USDT", interval="1m")).rows) == 3
    assert "ETH-USDT" in refusal(frame(symbol=["BTC-USDT", "ETH-USDT", "BTC-USDT"]))
    assert "1h" in refusal(frame(interval="1h"))


# --- times

INSTANTS = pd.to_datetime([START, START + MINUTE], unit="ms")


@pytest.mark.parametrize(
    "times",
    [
        [START, START + MINUTE],
        np.array([START, START + MINUTE], dtype=np.uint64),
        [float(START), float(START + MINUTE)],
        pd.array([START, START + MINUTE], dtype="Int64"),
        pd.array([START, START + MINUTE], dtype="int64[pyarrow]"),
        np.array([str(START), str(START + MINUTE)], dtype=object),
        *[INSTANTS.as_unit(unit) for unit in ("s", "ms", "us", "ns")],
        INSTANTS.tz_localize("UTC"),
        INSTANTS.tz_localize("UTC").tz_convert("Asia/Hong_Kong"),
        INSTANTS.tz_localize("UTC").tz_convert("America/New_York").as_unit("s"),
        pd.array(INSTANTS.tz_localize("UTC"), dtype="timestamp[us, UTC][pyarrow]"),
        pd.Series(INSTANTS.to_pydatetime(), dtype=object),
        pd.Series(INSTANTS.tz_localize("UTC").tz_convert("Asia/Hong_Kong").to_pydatetime(), dtype=object),
        pd.Series(list(INSTANTS), dtype=object),
        pd.Series(INSTANTS.to_numpy().astype("M8[s]").astype(object), dtype=object),
        ["2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z"],
        ["2024-01-01 00:00", "2024-01-01 00:01:00.000"],
        ["2024-01-01T08:00:00+08:00", "2023-12-31T19:01:00-0500"],
        pd.Categorical(["2024-01-01", "2024-01-01T00:01"]),
    ],
)
def test_times_of_every_sort_mean_the_same_instants(times: Any) -> None:
    given_rows = with_times(times)
    assert given_rows.rows.open_time.tolist() == [START, START + MINUTE]
    assert given_rows.rows.open_time.dtype == np.int64
    assert not len(given_rows.rejected)


def test_dates_are_their_midnight() -> None:
    dates = pd.Series([date(2024, 1, 1), date(2024, 1, 2)], dtype=object)
    assert with_times(dates).rows.open_time.tolist() == [START, START + 86_400_000]


@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "seconds"), (1e3, "microseconds"), (1e6, "nanoseconds")], ids=str)
def test_whole_numbers_of_another_unit_are_refused_rather_than_guessed(factor: float, unit: str) -> None:
    message = refusal(frame(2, timestamp=[int(START * factor), int((START + MINUTE) * factor)]))
    assert f"looks like {unit}" in message


@pytest.mark.parametrize(
    "times",
    [
        [START + 0.5, START + 1.0],
        [True, False],
        pd.Series([START, "2024-01-01"], dtype=object),
        pd.Series([START, datetime(2024, 1, 1)], dtype=object),
        pd.Series([datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)], dtype=object),
        pd.Series([True, START], dtype=object),
        [str(START), "2024-01-01"],
        pd.period_range("2024-01", periods=2, freq="D"),
        pd.to_timedelta([1, 2]),
        [1 + 1j, 2],
    ],
)
def test_times_that_could_mean_two_things_are_refused(times: Any) -> None:
    assert "the column timestamp" in refusal(frame(2, timestamp=times))


@pytest.mark.parametrize(
    ("times", "reason", "known"),
    [
        (INSTANTS.insert(2, pd.NaT), "no time", None),
        ([START, START + MINUTE, np.nan], "no time", None),
        (pd.Series([START, START + MINUTE, None], dtype=object), "no time", None),
        (pd.Series([*INSTANTS, None], dtype=object), "no time", None),
        (["2024-01-01", "2024-01-01T00:01", None], "no time", None),
        (["2024-01-01", "2024-01-01T00:01", "1st of May"], "unreadable time", None),
        (["2024-01-01", "2024-01-01T00:01", "now"], "unreadable time", None),
        (["2024-01-01", "2024-01-01T00:01", "2024-02-30"], "unreadable time", None),
        (["2024-01-01", "2024-01-01T00:01", "２０２４-01-01"], "unreadable time", None),
        ([START, START + MINUTE, 5], "time out of range", None),
        ([START, START + MINUTE, 2**62], "time out of range", None),
        (np.array([START, START + MINUTE, 2**64 - 1], dtype=np.uint64), "time out of range", None),
        (INSTANTS.insert(2, pd.Timestamp(1970, 1, 1)), "time out of range", None),
        (
            INSTANTS.as_unit("us").insert(2, pd.Timestamp("2024-01-01 00:02:00.000001")),
            "misaligned time",
            START + 120_000,
        ),
        (["2024-01-01", "2024-01-01T00:01", "2024-01-01T00:02:00.0000001"], "misaligned time", START + 120_000),
    ],
)
def test_a_row_whose_time_cannot_be_read_is_rejected_and_the_others_are_kept(
    times: Any, reason: str, known: int | None
) -> None:
    given_rows = with_times(times)
    assert given_rows.rows.open_time.tolist() == [START, START + MINUTE]
    assert given_rows.rejected.reason == [reason]
    assert given_rows.rejected.open_time == [known]
    assert "102.5" in given_rows.rejected.raw[0]


@given(
    st.lists(
        st.datetimes(datetime(2009, 1, 2), datetime(2099, 12, 30)).map(lambda t: t.replace(microsecond=0)), min_size=1
    ),
    st.integers(-720, 720),
)
def test_times_in_any_zone_are_the_same_instants_as_text_and_as_objects(moments: list[datetime], offset: int) -> None:
    zone = timezone(timedelta(minutes=offset))
    aware = [moment.replace(tzinfo=UTC).astimezone(zone) for moment in moments]
    expected = [(moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1) for moment in moments]
    for times in (pd.Series(aware, dtype=object), [moment.isoformat() for moment in aware]):
        assert with_times(times).rows.open_time.tolist() == expected


# --- values


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, 2.5]),
        np.array([1.5, 2.5], dtype=np.float32),
        pd.array([1.5, 2.5], dtype="Float64"),
        pd.array([1.5, 2.5], dtype="double[pyarrow]"),
        pd.Series([Decimal("1.5"), Decimal("2.50")], dtype=object),
        pd.Series([1.5, Decimal("2.5")], dtype=object),
        pd.Series([1.5, "2.5"], dtype=object),
        ["1.5", "2.5"],
        ["+1.5", "25e-1"],
        np.array(["1.5", ".25E1"], dtype=object),
        pd.Categorical([1.5, 2.5]),
    ],
)
def test_values_of_every_sort_mean_the_same_numbers(values: Any) -> None:
    given_rows = with_values(values)
    assert given_rows.rows.open.tolist() == [1.5, 2.5]
    assert given_rows.rows.open.dtype == np.float64
    assert (given_rows.rounded, len(given_rows.rejected)) == (0, 0)


@pytest.mark.parametrize(
    "values", [np.array([1, 2]), pd.Series([1, 2], dtype=object), np.array([1, 2], dtype=np.uint8)]
)
def test_whole_numbers_are_numbers(values: Any) -> None:
    assert with_values(values).rows.open.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "bad",
    [
        "1_000",
        "0x10",
        "１２",
        "1,000",
        "1.2.3",
        " 1",
        "1 ",
        "nan",
        "inf",
        "--1",
        "e5",
        "\udc80",
        "٣",
        10**400,
        pytest.param(10**5000, id="long"),
        True,
        b"1",
        [1],
        {},
    ],
)
def test_a_value_that_is_no_plain_number_rejects_its_row(bad: object) -> None:
    for values in ([1.5, bad, 2.5], ["1.5", bad, "2.5"], [Decimal("1.5"), bad, Decimal("2.5")]):
        given_rows = with_values(pd.Series(values, dtype=object))
        assert given_rows.rows.open.tolist() == [1.5, 2.5]
        assert given_rows.rejected.reason == ["unreadable open"]
        assert given_rows.rejected.open_time == [START + MINUTE]


@pytest.mark.parametrize(
    "column", [np.array([True, False]), np.array([1, 2], dtype="M8[s]"), np.array([1, 2], dtype="m8[s]"), [1 + 1j, 2]]
)
def test_columns_of_anything_else_are_no_numbers(column: Any) -> None:
    assert with_values(column).rejected.reason == ["unreadable open"] * 2


@pytest.mark.parametrize(
    "values",
    [
        [1.5, None],
        pd.Series([1.5, None], dtype=object),
        pd.Series(["1.5", None], dtype=object),
        pd.Series(["1.5", ""], dtype=object),
        pd.Series([Decimal("1.5"), None], dtype=object),
        pd.Series([Decimal("1.5"), pd.NA], dtype=object),
        pd.array([1.5, None], dtype="Float64"),
        pd.array(["1.5", None], dtype="string"),
    ],
)
def test_what_is_absent_stays_absent_for_the_rules_to_judge(values: Any) -> None:
    given_rows = with_values(values)
    assert given_rows.rows.open[0] == 1.5
    assert np.isnan(given_rows.rows.open[1])
    assert not len(given_rows.rejected)


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_doubles_come_through_bit_by_bit_also_as_text(values: list[float]) -> None:
    for column in (values, pd.Series(values, dtype=object)):
        assert with_values(column).rows.open.tobytes() == np.array(values).tobytes()
    finite = [value for value in values if np.isfinite(value)]
    read_back = with_values([repr(value) for value in finite])
    assert read_back.rows.open.tobytes() == np.array(finite, dtype=np.float64).tobytes()
    assert read_back.rounded == 0


@given(st.lists(st.decimals(-(10**20), 10**20, places=12), min_size=1, max_size=20))
def test_decimals_are_rounded_once_and_counted_if_they_do_not_come_back(values: list[Decimal]) -> None:
    changed = sum(Decimal(repr(float(v))) != v and len(v.as_tuple().digits) > 15 for v in values)
    for column in (values, [f"{value:f}" for value in values]):
        given_rows = with_values(pd.Series(column, dtype=object))
        assert given_rows.rows.open.tolist() == [float(value) for value in values]
        assert given_rows.rounded == changed


def test_rows_are_counted_as_rounded_once_and_only_if_kept() -> None:
    long = "0.12345678901234567890"
    df = frame(open=[long, "1", long], close=[long, "1", "x"])
    assert read(df).rounded == 1
    assert with_values(np.array([2**53 + 1, 2**53])).rounded == 1
    assert with_values(["100.00000000000000000000", "0.1"]).rounded == 0


def test_doubles_are_taken_without_a_copy() -> None:
    df = frame(5)
    rows = read(df).rows
    assert np.shares_memory(rows.open, df["open"].to_numpy())
    assert np.shares_memory(rows.base_volume, df["volume"].to_numpy())


# --- confirmed, raw


@pytest.mark.parametrize("name", ["confirmed", "confirm", "is_closed"])
@pytest.mark.parametrize("told", [[True, False, True], [1, 0, 1], ["1", "0", "1"], ["true", "false", "true"]])
def test_a_candle_that_is_not_confirmed_is_rejected(name: str, told: list[Any]) -> None:
    given_rows = read(frame(**{name: told}))
    assert given_rows.rows.open_time.tolist() == [START, START + 2 * MINUTE]
    assert given_rows.rejected.reason == ["unconfirmed"]
    assert given_rows.confirmed is not None
    assert given_rows.confirmed.tolist() == [True, True]
    assert read(frame()).confirmed is None


def test_what_says_neither_confirmed_nor_not_is_rejected() -> None:
    told = pd.Series([True, None, "maybe"], dtype=object)
    assert read(frame(confirmed=told)).rejected.reason == ["unreadable confirmed"] * 2


def test_a_rejected_row_names_everything_that_is_wrong_with_it() -> None:
    df = frame(1, timestamp=pd.to_datetime([None]), open=["x"], close=["y"], confirmed=[False])
    assert read(df).rejected.reason == ["no time; unreadable open; unreadable close; unconfirmed"]


def test_raw_is_the_source_of_each_kept_row_short_and_without_nul() -> None:
    df = frame(4, open=["x", "1", "x", "2"], note=["a", "b\0", "c", "d" * 10_000])
    given_rows = read(df)
    assert [row in given_rows.raw(n) for n, row in enumerate(("b", "ddd"))] == [True, True]
    assert "\0" not in given_rows.raw(0)
    assert len(given_rows.raw(1)) == 1000
    assert "c" in given_rows.rejected.raw[1]


# --- candles out


def test_candles_come_out_under_the_documented_names_and_types_and_go_in_again() -> None:
    rows = read(frame(quote_volume=[1.0, np.nan, 2.0])).rows
    out = candles_frame(rows)
    assert list(out.columns) == ["timestamp", "open", "high", "low", "close", "volume", "quote_volume"]
    assert str(out["timestamp"].dtype) == "datetime64[ns, UTC]"
    assert all(out[name].dtype == np.float64 for name in out.columns[1:])
    again = read(out).rows
    assert again.open_time.tolist() == rows.open_time.tolist()
    assert all(getattr(again, name).tobytes() == getattr(rows, name).tobytes() for name in VALUE_COLUMNS)
    assert len(candles_frame(CandleRows.empty(SERIES))) == 0


def test_a_million_rows_take_a_moment() -> None:
    df = frame(1_000_000, timestamp=pd.to_datetime(START + MINUTE * np.arange(1_000_000), unit="ms", utc=True))
    read(frame())
    fastest = min(_seconds(lambda: read(df)) for _ in range(3))
    assert fastest < 0.3  # measured: 0.012 s


def _seconds(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
