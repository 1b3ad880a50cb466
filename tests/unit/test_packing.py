"""However records are turned into columns, the columns hold what the records held."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.storage.intake.packing import columns_of

NAMES = ("symbol", "timestamp", "open", "volume")

texts = st.sampled_from(["BTC-USDT", "ETH-USDT", "DOGE-USDT", ""])
numbers = st.one_of(st.floats(), st.integers(), st.integers(2**32, 2**63))
oddities = st.sampled_from([None, True, Decimal("1.5"), np.float64(2.5), b"x", [1.5], "\ud800", float("nan")])
columns = {
    "texts": texts,
    "floats": st.floats(),
    "milliseconds": st.integers(10**12, 2 * 10**12),
    "numbers": numbers,
    "anything": st.one_of(texts, numbers, oddities),
}


@st.composite
def alike(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records of the same keys, each key with values of a kind of its own, some of them the same in all records."""
    kinds = {name: columns[draw(st.sampled_from(sorted(columns)))] for name in NAMES}
    kinds = {name: st.just(draw(kind)) if draw(st.booleans()) else kind for name, kind in kinds.items()}
    return draw(st.lists(st.fixed_dictionaries(kinds), min_size=1, max_size=40))


@given(records=alike(), at_a_time=st.integers(1, 50))
def test_columns_hold_the_records_values_in_their_order(records: list[dict[str, Any]], at_a_time: int) -> None:
    got = columns_of(records, at_a_time=at_a_time)
    assert got is not None
    assert set(got) == set(NAMES)
    for name, column in got.items():
        values = column.tolist() if isinstance(column, np.ndarray) else column
        assert [_identity(value) for value in values] == [_identity(record[name]) for record in records]


def _identity(value: object) -> tuple[str, str]:
    return type(value).__name__, repr(value)


def test_prices_and_milliseconds_become_arrays_also_where_another_series_begins() -> None:
    records = [
        {"symbol": symbol, "timestamp": 1_700_000_000_000 + n, "open": n / 7}
        for symbol in ("BTC-USDT", "DOGE-USDT")
        for n in range(30)
    ]
    got = columns_of(records, at_a_time=20)
    assert got is not None
    assert isinstance(got["timestamp"], np.ndarray)
    assert isinstance(got["open"], np.ndarray)
    assert got["open"].dtype == np.float64
    assert got["open"].tolist() == [record["open"] for record in records]
    assert got["symbol"] == ["BTC-USDT"] * 30 + ["DOGE-USDT"] * 30


@pytest.mark.parametrize(
    "records",
    [
        [{"a": 1.0}, {"b": 1.0}],
        [{"a": 1.0}, {"a": 1.0, "b": 2.0}],
        [{"a": 1.0, "b": 1.0}, {"a": 1.0}],
        [{"a": 1.0}, None],
        [[1.0], [2.0]],
    ],
)
@pytest.mark.parametrize("at_a_time", [1, 2])
def test_records_of_different_keys_have_no_columns(records: list[Any], at_a_time: int) -> None:
    assert columns_of(records, at_a_time=at_a_time) is None


def test_any_mapping_is_a_record_and_keys_may_come_in_any_order() -> None:
    records = [{"a": 1.0, "b": 2.0}, {"b": 4.0, "a": 3.0}, MappingProxyType({"a": 5.0, "b": 6.0})]
    got = columns_of(records)
    assert got is not None
    assert {name: list(column) for name, column in got.items()} == {"a": [1.0, 3.0, 5.0], "b": [2.0, 4.0, 6.0]}
