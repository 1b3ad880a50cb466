"""Lists of dicts: every record ends up as a row of its series, as a rejected row, or refused; none is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import timeframe
from chandlery.errors import DataValidationError
from chandlery.storage.intake.frames import RecordRows, rows_from_records

START = 1_704_067_200_000
MINUTE = 60_000


def record(n: int = 0, **changes: Any) -> dict[str, Any]:
    """A good record; ``changes`` replace its own, and None takes one out."""
    good = {"symbol": "BTC-USDT", "interval": "1m", "timestamp": START + n * MINUTE}
    good |= {"open": 100.5 + n, "high": 101.0 + n, "low": 99.0 + n, "close": 100.0 + n, "volume": 0.25 + n}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def series(symbol: str = "BTC-USDT", interval: str = "1m") -> Series:
    return Series("okx", symbol, timeframe(interval))


def read(records: Any) -> RecordRows:
    return rows_from_records(records, "okx")


def test_records_are_sorted_out_by_series_each_in_its_order() -> None:
    records = [
        record(0),
        record(5, symbol="eth/usdt"),
        record(3),
        record(1, interval="1h"),
        record(2, symbol="BTC/USDT"),
        record(4, symbol="ETH-USDT"),
    ]
    by_series = read(records).by_series
    assert {key: value.rows.base_volume.tolist() for key, value in by_series.items()} == {
        series(): [0.25, 3.25, 2.25],
        series("ETH-USDT"): [5.25, 4.25],
        series(interval="1h"): [1.25],
    }
    assert '"open": 102.5' in by_series[series()].raw(2)
    assert by_series[series("ETH-USDT")].rows.series == series("ETH-USDT")


def test_the_exchange_is_the_callers() -> None:
    assert next(iter(rows_from_records([record()], "okx-demo").by_series)).exchange == "okx-demo"


def test_records_may_be_spelled_differently_from_one_another() -> None:
    other = record(1, timestamp=None, open=None, interval=None, volume=None)
    other |= {
        "open_time": START + MINUTE,
        "open_price": 7.0,
        "timeframe": "1m",
        "base_volume": 8.0,
        "quote_volume": 9.0,
    }
    rows = read([record(0), other, record(2)]).by_series[series()].rows
    assert rows.open.tolist() == [100.5, 7.0, 102.5]
    assert rows.base_volume.tolist() == [0.25, 8.0, 2.25]
    assert np.isnan(rows.quote_volume).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "bad",
    [
        record(symbol="A\0B"),
        record(symbol="A'; DROP TABLE candle; --"),
        record(symbol="A" * 10_000),
        record(symbol=""),
        record(symbol=5),
        record(symbol=["BTC-USDT"]),
        record(symbol="\udc80"),
        record(interval="7m"),
        record(interval="1H"),
        record(interval=5),
        record(interval={}),
        record(close=None),
        record(open_price=1.0),
        record(interval="7m", open=10**5000),
        {},
    ],
)
def test_a_record_that_belongs_to_no_series_is_refused_with_its_text_and_the_others_are_kept(
    bad: dict[str, Any],
) -> None:
    result = read([record(0), bad, record(1)])
    assert result.by_series[series()].rows.base_volume.tolist() == [0.25, 1.25]
    [(raw, reason)] = result.refused
    assert reason
    assert len(raw) <= 1000
    assert "\0" not in raw + reason
    assert (raw + reason).encode()


def test_a_record_that_cannot_be_read_is_rejected_in_its_series() -> None:
    result = read([record(0), record(1, symbol="ETH-USDT", open="1_000"), record(2, timestamp=START + 1e9 * MINUTE)])
    assert result.by_series[series("ETH-USDT")].rejected.reason == ["unreadable open"]
    assert result.by_series[series()].rejected.reason == ["time out of range"]
    assert len(result.by_series[series()].rows) == 1


def test_only_the_supported_intervals_are_accepted() -> None:
    result = rows_from_records([record(), record(interval="1h")], "okx", ("1h", "1d"))
    assert list(result.by_series) == [series(interval="1h")]
    assert "1h, 1d" in result.refused[0].reason


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([record(), 5], "record number 1 is a int"),
        ([[1, 2]], "record number 0 is a list"),
        ([record(close=None)], "close or close_price"),
        ([record(close=None), record(low=None)], "close or close_price"),
        ([record(timestamp=START // 1000)], "looks like seconds"),
        ([record(), record(timestamp="2024-01-01")], "mixes or holds int, str"),
    ],
)
def test_a_list_that_cannot_be_understood_as_a_whole_is_refused(records: Any, told: str) -> None:
    with pytest.raises(DataValidationError, match=told):
        read(records)


def test_no_records_are_fine() -> None:
    assert read([]) == RecordRows(by_series={}, refused=[]) or not read([]).by_series


def test_times_may_be_datetimes() -> None:
    rows = read(
        [record(timestamp=datetime(2024, 1, 1, tzinfo=UTC)), record(timestamp=datetime(2024, 1, 1, 1, tzinfo=UTC))]
    )
    assert rows.by_series[series()].rows.open_time.tolist() == [START, START + 60 * MINUTE]


def test_confirmed_may_be_told_by_some_records_only() -> None:
    result = read([record(0), record(1, confirm="0"), record(2, confirm="1")]).by_series[series()]
    assert result.rejected.reason == ["unconfirmed"]
    assert len(result.rows) == 2


_ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers())
_RECORDS = st.lists(
    st.fixed_dictionaries(
        {"timestamp": st.integers(START, START + 10**9), "open": _ODD, "high": _ODD, "low": _ODD, "close": _ODD},
        optional={
            "symbol": st.sampled_from(["BTC-USDT", "ETH-USDT"]) | _ODD,
            "interval": st.sampled_from(["1m", "1M"]) | _ODD,
        },
    ).map(lambda r: {"volume": 1.0, **r}),
    max_size=12,
)


@given(_RECORDS)
def test_no_record_is_lost_whatever_is_in_it(records: list[dict[str, Any]]) -> None:
    first = record(symbol="SOL-USDT")
    result = read([first, *records])
    kept = sum(len(given_rows.rows) + len(given_rows.rejected) for given_rows in result.by_series.values())
    assert kept + len(result.refused) == len(records) + 1
    for given_rows in result.by_series.values():
        assert all(len(given_rows.raw(n)) <= 1000 for n in range(len(given_rows.rows)))
