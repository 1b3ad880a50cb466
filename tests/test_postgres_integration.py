"""Bad input meets a real database: good rows are stored, bad ones set aside with their reason, nothing stops midway."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candles import START, candles, series
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.writer import SaveResult
from handed_in import MINUTE, frame, opens, records, rejected
from postgres_storage import DataNotFoundError, DataValidationError, PostgreSQLStorage

NAN, INFINITY = float("nan"), float("inf")
NEXT_YEAR = int(time.time() * 1000) // MINUTE * MINUTE + 365 * 86_400_000
ROW = 2
"""Which row of a frame of five is the bad one."""

BAD_VALUES: list[tuple[str, Any, str]] = [
    ("open", NAN, "open is not a number"),
    ("high", NAN, "high is not a number"),
    ("close", INFINITY, "close is infinite"),
    ("low", -INFINITY, "low is infinite"),
    ("low", 0.0, "low is not above zero"),
    ("close", -100.0, "close is not above zero"),
    ("high", 50.0, "high is below low"),
    ("high", 102.25, "high is below open or close"),
    ("low", 102.25, "low is above open or close"),
    ("volume", NAN, "base_volume is not a number"),
    ("volume", -1.0, "base_volume is negative"),
    ("volume", INFINITY, "base_volume is infinite"),
    ("quote_volume", -1.0, "quote_volume is negative"),
    ("quote_volume", INFINITY, "quote_volume is infinite"),
    ("timestamp", START + 2 * MINUTE + 1, "time is not the open of a 1m bar"),
    ("timestamp", START // 1000 + 120, "time out of range"),
    ("timestamp", (START + 2 * MINUTE) * 1_000_000, "time out of range"),
    ("timestamp", NEXT_YEAR, "not closed yet"),
    ("timestamp", 0, "time out of range"),
    ("timestamp", -1, "time out of range"),
    ("confirm", "0", "unconfirmed"),
    ("confirm", "perhaps", "unreadable confirmed"),
    ("open", "1_000", "unreadable open"),
    ("close", "１０２", "unreadable close"),
    ("close", True, "unreadable close"),
    ("close", [102.0], "unreadable close"),
    ("close", 10**400, "unreadable close"),
]


@pytest.mark.parametrize(
    ("column", "value", "reason"), BAD_VALUES, ids=[f"{reason}: {ascii(value)[:20]}" for _, value, reason in BAD_VALUES]
)
def test_one_bad_row_is_set_aside_with_its_reason_and_the_others_are_stored(
    storage: PostgreSQLStorage, column: str, value: Any, reason: str
) -> None:
    given_frame = frame(5, quote_volume=np.arange(5) + 1.0, confirm=["1"] * 5).astype({column: object})
    given_frame.at[ROW, column] = value
    expected = SaveResult(inserted=4, rejected=1)
    assert storage.save_ohlcv_data(given_frame, "BTC-USDT", "1m") == expected
    assert opens(storage.get_ohlcv_data("BTC-USDT", "1m")) == [START + n * MINUTE for n in (0, 1, 3, 4)]
    [(reasons, raw)] = reasons_and_texts(storage)
    assert reason in reasons
    assert "102.5" in raw or column == "open", "the row's own text is kept"


@pytest.mark.parametrize("column", ["timestamp", "open", "high", "low", "close", "volume"])
def test_a_missing_value_is_a_reason_not_a_zero(storage: PostgreSQLStorage, column: str) -> None:
    given_frame = frame(5).astype({column: object})
    given_frame.at[ROW, column] = None
    assert storage.save_ohlcv_data(given_frame, "BTC-USDT", "1m") == SaveResult(inserted=4, rejected=1)


@pytest.mark.parametrize("column", ["timestamp", "open", "high", "low", "close", "volume"])
def test_a_missing_column_is_refused_by_name_before_anything_is_stored(storage: PostgreSQLStorage, column: str) -> None:
    with pytest.raises(DataValidationError, match=f"columns are missing: {column}"):
        storage.save_ohlcv_data(frame(5, **{column: None}), "BTC-USDT", "1m")
    with pytest.raises(DataNotFoundError):
        storage.get_ohlcv_data("BTC-USDT", "1m")


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (START // 1000 + 60 * np.arange(3), "looks like seconds"),
        (START * 1_000 + MINUTE * 1_000 * np.arange(3), "looks like microseconds"),
        ((START + MINUTE * np.arange(3)) * 1_000_000, "looks like nanoseconds"),
        ((START + MINUTE * np.arange(3)) / 1000 + 0.5, "fractions"),
        ([True, False, True], "bool"),
        ([START, "2024-01-01", None], "mixes"),
    ],
    ids=["seconds", "microseconds", "nanoseconds", "fractions", "booleans", "mixed"],
)
def test_times_of_another_unit_or_kind_are_refused_not_guessed(
    storage: PostgreSQLStorage, times: Any, said: str
) -> None:
    with pytest.raises(DataValidationError, match=said):
        storage.save_ohlcv_data(frame(3, timestamp=times), "BTC-USDT", "1m")


@pytest.mark.parametrize("thing", [None, [], {"open": [1.0]}, "frame", records(1)])
def test_what_is_no_frame_is_refused(storage: PostgreSQLStorage, thing: Any) -> None:
    with pytest.raises(DataValidationError, match="expected a pandas DataFrame"):
        storage.save_ohlcv_data(thing, "BTC-USDT", "1m")


def test_rows_in_any_order_are_stored_in_order(storage: PostgreSQLStorage) -> None:
    shuffled = frame(500).sample(frac=1.0, random_state=1)
    assert storage.save_ohlcv_data(shuffled, "BTC-USDT", "1m") == SaveResult(inserted=500)
    stored = storage.get_ohlcv_data("BTC-USDT", "1m")
    assert stored["close"].tolist() == (np.arange(500) + 100.0).tolist()


def test_equal_duplicates_are_one_candle_and_differing_ones_none(storage: PostgreSQLStorage) -> None:
    equal = pd.concat([frame(4), frame(4).iloc[[1, 1]]])
    assert storage.save_ohlcv_data(equal, "BTC-USDT", "1m") == SaveResult(inserted=4, unchanged=2)
    contradiction = pd.concat([frame(4), frame(4, close=[100.0, 101.25, 102.0, 103.0]).iloc[[1]]])
    assert storage.save_ohlcv_data(contradiction, "ETH-USDT", "1m") == SaveResult(inserted=3, rejected=2)
    assert rejected(storage) == {"conflicting duplicate": 2}
    assert opens(storage.get_ohlcv_data("ETH-USDT", "1m")) == [START + n * MINUTE for n in (0, 2, 3)]


def test_a_refused_row_does_not_make_its_bar_count_as_covered(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(5, close=[100.0, 101.0, NAN, 103.0, 104.0]), "BTC-USDT", "1m")
    hole = START + 2 * MINUTE
    covered = storage.ledger.covered(series())
    assert hole not in covered
    assert hole - MINUTE in covered
    assert hole + MINUTE in covered


def test_decimals_of_any_length_are_stored_as_the_nearest_double_and_counted(storage: PostgreSQLStorage) -> None:
    exact, long = Decimal("100.25"), Decimal("100.123456789012345678901234567890")
    given_frame = frame(4, open=[exact, long, str(long), "102.5"], high=[200] * 4, low=[Decimal(1)] * 4)
    assert storage.save_ohlcv_data(given_frame, "BTC-USDT", "1m") == SaveResult(inserted=4, rounded=2)
    assert storage.get_ohlcv_data("BTC-USDT", "1m")["open"].tolist() == [100.25, float(long), float(long), 102.5]


@given(
    st.lists(
        st.decimals(min_value=Decimal("1e-12"), max_value=Decimal("1e9"), allow_nan=False).map(
            lambda price: Decimal(f"{price:.15g}")
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_decimal_of_fifteen_digits_comes_back_unchanged(
    storage: PostgreSQLStorage, prices: list[Decimal]
) -> None:
    symbol = next(SYMBOLS)
    given_frame = frame(len(prices), **dict.fromkeys(("open", "high", "low", "close"), prices))
    assert storage.save_ohlcv_data(given_frame, symbol, "1m") == SaveResult(inserted=len(prices))
    stored = storage.get_ohlcv_data(symbol, "1m")
    assert [Decimal(repr(price)) for price in stored["close"].tolist()] == prices


BAD_SYMBOLS = ["BTC\0USDT", "'; DROP TABLE chandlery.candle; --", '"', "A" * 10_000, "", " ", "../../etc", "BTC–USDT"]


@pytest.mark.parametrize("symbol", [*BAD_SYMBOLS, None, 5, [["BTC-USDT"]]])
def test_a_symbol_that_can_be_none_is_refused_shortly_wherever_it_is_given(
    storage: PostgreSQLStorage, symbol: Any
) -> None:
    uses = (
        lambda: storage.save_ohlcv_data(frame(1), symbol, "1m"),
        lambda: storage.get_ohlcv_data(symbol, "1m"),
        lambda: storage.get_latest_timestamp(symbol, "1m"),
        lambda: storage.get_available_intervals(symbol),
    )
    for use in uses:
        with pytest.raises(DataValidationError, match="symbol") as caught:
            use()
        assert len(str(caught.value)) < 400


def test_records_of_impossible_series_are_set_aside_and_the_others_stored(storage: PostgreSQLStorage) -> None:
    bad = [record for symbol in [*BAD_SYMBOLS, None, 5] for record in records(1, symbol=[symbol])]
    bad += records(1, interval="7m") + records(1, interval=[["1m"]]) + [{"symbol": "BTC-USDT", "interval": "1m"}]
    mixed = [*records(3), *bad]
    random.Random(1).shuffle(mixed)
    assert storage.save_records(mixed) == SaveResult(inserted=3, rejected=len(bad))
    assert rejected(storage).total() == len(bad)
    assert opens(storage.get_ohlcv_data("BTC-USDT", "1m")) == [START + n * MINUTE for n in range(3)]


def test_a_row_of_any_size_is_kept_aside_within_bounds(storage: PostgreSQLStorage) -> None:
    noise = "\0'\"\\" * 5_000
    assert storage.save_ohlcv_data(frame(2, open=[noise, "101.5"], note=noise), "BTC-USDT", "1m").rejected == 1
    [(_, raw)] = reasons_and_texts(storage)
    assert len(raw) <= 1_000
    assert "\0" not in raw


def test_a_row_set_aside_keeps_its_numbers_as_they_were_given(storage: PostgreSQLStorage) -> None:
    wrong_unit = (START + 2 * MINUTE) * 1_000_000 + 1  # a number that no double holds
    storage.save_ohlcv_data(frame(3, timestamp=[START, START + MINUTE, wrong_unit]), "BTC-USDT", "1m")
    [(_, raw)] = reasons_and_texts(storage)
    assert f'"timestamp": {wrong_unit},' in raw


def test_the_same_bad_row_again_is_counted_not_kept_twice(storage: PostgreSQLStorage) -> None:
    for _ in range(3):
        storage.save_ohlcv_data(frame(1, close=[-1.0]), "BTC-USDT", "1m")
    assert len(reasons_and_texts(storage)) == 1
    assert rejected(storage).total() == 3


def test_nothing_of_a_frame_full_of_bad_rows_is_stored_and_the_result_says_so(storage: PostgreSQLStorage) -> None:
    result = storage.save_ohlcv_data(frame(1_000, high=np.full(1_000, 1.0)), "BTC-USDT", "1m")
    assert result == SaveResult(rejected=1_000)
    assert not result


def test_a_read_of_more_than_a_hundred_thousand_candles_is_never_cut(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 250_001)
    stored = storage.save_ohlcv_data(candles_frame(batch), "BTC-USDT", "1m")
    assert stored == SaveResult(inserted=250_001)
    read = storage.get_ohlcv_data("BTC-USDT", "1m")
    pd.testing.assert_frame_equal(read, candles_frame(batch), check_exact=True)
    last = datetime.fromtimestamp(int(batch.open_time[-1]) / 1000, UTC)
    assert storage.get_latest_timestamp("BTC-USDT", "1m") == last


# --- any mixture of good and bad rows

SYMBOLS = (f"H{number}-USDT" for number in itertools.count())
"""Each example of a property has a series of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a frame: its values, and what must become of it."""

    slot: int
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        [good] = frame(1, start=START + self.slot * MINUTE).to_dict("records")
        return {**good, "confirm": "1", **dict(self.changes)}

    @property
    def readable_and_valid(self) -> bool:
        return not self.changes or self.changes == REVISED


REVISED = (("close", 100.25),)
"""A valid row that contradicts the good row of its slot."""

BROKEN: list[tuple[tuple[str, Any], ...]] = [
    (("open", NAN),),
    (("high", INFINITY),),
    (("low", -1.0),),
    (("close", 0.0),),
    (("high", 1.0),),
    (("volume", -0.5),),
    (("close", "broken"),),
    (("timestamp", START + 7),),
    (("timestamp", 5),),  # were it START in seconds, a frame of nothing else would be refused as a whole
    (("timestamp", NEXT_YEAR),),
    (("timestamp", None),),
    (("confirm", "0"),),
    (("open", None), ("timestamp", START + 1)),
]

SLOTS = st.integers(0, 12)
ROWS = st.one_of(
    st.builds(Row, SLOTS),
    st.builds(Row, SLOTS),
    st.builds(Row, SLOTS, st.just(REVISED)),
    st.builds(Row, SLOTS, st.sampled_from(BROKEN)),
)


def fate(rows: list[Row]) -> tuple[dict[int, float], SaveResult]:
    """What must be stored of one frame, close by slot, and what must be said about it."""
    valid: dict[int, list[float]] = {}
    for row in rows:
        if row.readable_and_valid:
            valid.setdefault(row.slot, []).append(row.values["close"])
    good = {slot: closes[0] for slot, closes in valid.items() if len(set(closes)) == 1}
    repeats = sum(len(valid[slot]) - 1 for slot in good)
    kept = sum(len(valid[slot]) for slot in good)
    return good, SaveResult(inserted=len(good), unchanged=repeats, rejected=len(rows) - kept)


@given(st.lists(ROWS, min_size=1, max_size=25))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_any_frame_the_good_rows_are_stored_and_the_bad_ones_set_aside(
    storage: PostgreSQLStorage, rows: list[Row]
) -> None:
    symbol, before = next(SYMBOLS), rejected(storage).total()
    good, expected = fate(rows)
    result = storage.save_ohlcv_data(pd.DataFrame([row.values for row in rows], dtype=object), symbol, "1m")
    assert result == expected
    assert result.stored + result.rejected == len(rows)
    assert rejected(storage).total() - before == expected.rejected
    assert stored_closes(storage, symbol) == {START + slot * MINUTE: close for slot, close in good.items()}


@given(st.lists(st.tuples(ROWS, st.sampled_from(["A", "B", "C", "no/such/symbol"])), min_size=1, max_size=25))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_any_records_each_series_gets_its_own_good_rows(
    storage: PostgreSQLStorage, rows: list[tuple[Row, str]]
) -> None:
    names = {letter: next(SYMBOLS) for letter in "ABC"}
    before = rejected(storage).total()
    given_records = [{**row.values, "symbol": names.get(letter, letter), "interval": "1m"} for row, letter in rows]
    by_name = {name: fate([row for row, one in rows if one == letter]) for letter, name in names.items()}
    result = storage.save_records(given_records)
    assert result.inserted == sum(len(good) for good, _ in by_name.values())
    assert result.stored + result.rejected == len(rows)
    assert rejected(storage).total() - before == result.rejected
    for name, (good, _) in by_name.items():
        assert stored_closes(storage, name) == {START + slot * MINUTE: close for slot, close in good.items()}


def stored_closes(storage: PostgreSQLStorage, symbol: str) -> dict[int, float]:
    try:
        stored = storage.get_ohlcv_data(symbol, "1m")
    except DataNotFoundError:
        return {}
    return dict(zip(opens(stored), stored["close"].tolist(), strict=True))


def reasons_and_texts(storage: PostgreSQLStorage) -> list[tuple[str, str]]:
    statement = "SELECT reason, raw FROM chandlery.rejected"
    return storage.database.transact(lambda connection: connection.execute(statement).fetchall())
