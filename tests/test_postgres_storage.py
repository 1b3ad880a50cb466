"""Every method of PostgreSQLStorage does what its documentation says, on a real database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from psycopg.conninfo import make_conninfo

import chandlery
from candles import START, candles, series
from chandlery.storage import clock
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.writer import SaveResult
from handed_in import MINUTE, frame, opens, records, rejected
from postgres_storage import (
    ConfigurationError,
    ConnectionError,
    DatabaseError,
    DataNotFoundError,
    DataValidationError,
    PostgreSQLStorage,
)

COLUMNS = ["timestamp", "open", "high", "low", "close", "volume", "quote_volume"]
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def test_the_door_leads_to_the_packages_own_class() -> None:
    assert PostgreSQLStorage is chandlery.PostgreSQLStorage


# --- saving


def test_what_is_saved_comes_back_to_the_last_bit_in_the_documented_columns(storage: PostgreSQLStorage) -> None:
    given = candles_frame(candles(series(), 2_000))
    assert storage.save_ohlcv_data(given, "BTC-USDT", "1m") == SaveResult(inserted=2_000)
    stored = storage.get_ohlcv_data("BTC-USDT", "1m")
    assert list(stored.columns) == COLUMNS
    assert str(stored["timestamp"].dtype) == "datetime64[ns, UTC]"
    pd.testing.assert_frame_equal(stored, given, check_exact=True)


def test_saving_again_changes_nothing_and_says_so(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(5), "BTC-USDT", "1m")
    again = storage.save_ohlcv_data(frame(7), "BTC-USDT", "1m")
    assert again == SaveResult(inserted=2, unchanged=5)
    assert again
    assert opens(storage.get_ohlcv_data("BTC-USDT", "1m")) == opens_of(7)


@pytest.mark.parametrize("save", ["frame", "records"])
def test_a_running_candle_is_refused_also_where_our_clock_is_ahead(
    storage: PostgreSQLStorage, monkeypatch: pytest.MonkeyPatch, save: str
) -> None:
    """The server's clock is asked too; by ours, which is an hour ahead, the last candle has closed."""
    exact = time.time_ns
    minute = exact() // 1_000_000 // MINUTE * MINUTE
    monkeypatch.setattr(clock.time, "time_ns", lambda: exact() + 3_600_000_000_000)
    closed_and_one_to_come = candles(series(), 30, start=minute - 20 * MINUTE).take(np.array([0, 1, 2, 25]))
    given = candles_frame(closed_and_one_to_come)
    if save == "frame":
        assert storage.save_ohlcv_data(given, "BTC-USDT", "1m") == SaveResult(inserted=3, rejected=1)
    else:
        assert storage.bulk_insert(given.assign(symbol="BTC-USDT", interval="1m").to_dict("records")) == 3
    assert rejected(storage).total() == 1


def test_other_values_for_a_stored_candle_are_a_revision(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(3), "BTC-USDT", "1m")
    later = frame(3, close=[100.0, 101.25, 102.0])
    assert storage.save_ohlcv_data(later, "BTC-USDT", "1m") == SaveResult(unchanged=2, revised=1)
    assert storage.get_ohlcv_data("BTC-USDT", "1m")["close"].tolist() == [100.0, 101.25, 102.0]
    assert revisions(storage) == [(101.0, 101.25, True)]


def test_revisions_are_only_noted_where_the_old_values_are_to_stay(database_url: str) -> None:
    with PostgreSQLStorage(database_url, on_revision="keep") as storage:
        storage.save_ohlcv_data(frame(1), "BTC-USDT", "1m")
        assert storage.save_ohlcv_data(frame(1, close=[100.25]), "BTC-USDT", "1m").revised == 1
        assert storage.get_ohlcv_data("BTC-USDT", "1m")["close"].tolist() == [100.0]
        assert revisions(storage) == [(100.0, 100.25, False)]


@pytest.mark.parametrize(
    "timestamps",
    [
        pd.to_datetime(START + MINUTE * np.arange(3), unit="ms", utc=True),
        pd.to_datetime(START + MINUTE * np.arange(3), unit="ms"),
        pd.to_datetime(START + MINUTE * np.arange(3), unit="ms", utc=True).tz_convert("Asia/Hong_Kong"),
        START + MINUTE * np.arange(3),
        [datetime(2024, 1, 1, 8, n, tzinfo=timezone(timedelta(hours=8))) for n in range(3)],
        [f"2024-01-01T00:0{n}:00Z" for n in range(3)],
    ],
    ids=["aware", "naive-UTC", "Hong-Kong", "milliseconds", "datetimes", "text"],
)
def test_the_same_instants_in_any_form_are_the_same_candles(storage: PostgreSQLStorage, timestamps: Any) -> None:
    assert storage.save_ohlcv_data(frame(3, timestamp=timestamps), "BTC-USDT", "1m") == SaveResult(inserted=3)
    assert opens(storage.get_ohlcv_data("BTC-USDT", "1m")) == opens_of(3)


def test_times_may_be_the_index_and_columns_may_carry_the_specifications_names(storage: PostgreSQLStorage) -> None:
    specified = frame(3, quote_volume=[1.0, 2.0, 3.0]).rename(
        columns={name: f"{name}_price" for name in ("open", "high", "low", "close")}
    )
    indexed = specified.drop(columns="timestamp").set_index(pd.to_datetime(specified["timestamp"], unit="ms"))
    assert storage.save_ohlcv_data(specified, "BTC-USDT", "1m") == SaveResult(inserted=3)
    assert storage.save_ohlcv_data(indexed, "BTC-USDT", "1m") == SaveResult(unchanged=3)
    assert storage.get_ohlcv_data("BTC-USDT", "1m")["quote_volume"].tolist() == [1.0, 2.0, 3.0]


def test_a_quote_volume_that_nobody_told_reads_as_nan(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(2), "BTC-USDT", "1m")
    assert storage.get_ohlcv_data("BTC-USDT", "1m")["quote_volume"].isna().all()


def test_every_spelling_of_a_symbol_is_the_same_series(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(1), "btc/usdt:usdt", "1m")
    for spelling in ("BTC-USDT-SWAP", "BTC/USDT:USDT", " btc-usdt-swap "):
        assert len(storage.get_ohlcv_data(spelling, "1m")) == 1
    with pytest.raises(DataNotFoundError):
        storage.get_ohlcv_data("BTC-USDT", "1m")


@pytest.mark.parametrize("empty", [pd.DataFrame(), frame(0)], ids=["no-columns", "no-rows"])
def test_an_empty_frame_is_nothing_to_store_and_no_error(storage: PostgreSQLStorage, empty: pd.DataFrame) -> None:
    assert storage.save_ohlcv_data(empty, "BTC-USDT", "1m") == SaveResult()


def test_records_of_many_series_go_in_at_once(storage: PostgreSQLStorage) -> None:
    given = records(3) + records(2, symbol="ETH/USDT") + records(1, interval="1h")
    assert storage.bulk_insert(given) == 6
    assert storage.save_records(given) == SaveResult(unchanged=6)
    assert storage.bulk_insert([]) == 0
    assert len(storage.get_ohlcv_data("ETH-USDT", "1m")) == 2
    assert storage.get_available_intervals("BTC-USDT") == ["1m", "1h"]


# --- reading


@pytest.fixture
def three_days(storage: PostgreSQLStorage) -> PostgreSQLStorage:
    """Hourly candles of 2024-01-01 to 2024-01-03."""
    storage.save_ohlcv_data(candles_frame(candles(series(interval="1h"), 72)), "BTC-USDT", "1h")
    return storage


BOUNDS: list[tuple[Any, Any]] = [
    (None, None),
    ("2024-01-02", "2024-01-02"),
    ("2024-01-01", "2024-01-02"),
    ("2024-01", None),
    (None, "2024"),
    ("2024-01-02 05:00", "2024-01-02 07:00"),
    ("2024-01-02T05:00:00Z", "2024-01-02T07:59:59Z"),
    ("2024-01-02T05", "2024-01-02T05"),
    ("2023-01-01", "2023-12-31"),
    ("2030-01-01", None),
]


@pytest.mark.parametrize(("start", "end"), BOUNDS)
def test_both_ends_are_included_exactly_as_in_pandas_loc(three_days: PostgreSQLStorage, start: Any, end: Any) -> None:
    everything = three_days.get_ohlcv_data("BTC-USDT", "1h").set_index("timestamp")
    expected = everything.loc[start:end]
    got = three_days.get_ohlcv_data("BTC-USDT", "1h", start, end).set_index("timestamp")
    pd.testing.assert_frame_equal(got, expected, check_freq=False)


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (START, START, [0]),
        (START + HOUR, START + 3 * HOUR, [1, 2, 3]),
        (START + 1, START + 2 * HOUR - 1, [1]),
        (date(2024, 1, 2), date(2024, 1, 2), list(range(24, 48))),
        (datetime(2024, 1, 1, 5, tzinfo=UTC), datetime(2024, 1, 1, 6, tzinfo=UTC), [5, 6]),
        (datetime(2024, 1, 1, 5), datetime(2024, 1, 1, 6), [5, 6]),
        (pd.Timestamp("2024-01-01 13:00", tz="Asia/Hong_Kong"), "2024-01-01T14:00+08:00", [5, 6]),
        (pd.Timestamp("2024-01-03 23:00"), None, [71]),
    ],
)
def test_bounds_may_be_instants_days_or_milliseconds(
    three_days: PostgreSQLStorage, start: Any, end: Any, hours: list[int]
) -> None:
    stored = three_days.get_ohlcv_data("BTC-USDT", "1h", start, end)
    assert opens(stored) == [START + hour * HOUR for hour in hours]


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2024-01-02", "2024-01-01", "later than the end"),
        ("yesterday", None, "'yesterday' is not a time"),
        (1_704_067_200, None, "looks like seconds"),
        (None, True, "is not a time"),
    ],
)
def test_impossible_bounds_are_refused_in_a_sentence(
    three_days: PostgreSQLStorage, start: Any, end: Any, said: str
) -> None:
    with pytest.raises(DataValidationError, match=said):
        three_days.get_ohlcv_data("BTC-USDT", "1h", start, end)


def test_a_read_fills_no_gap(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(10).drop(index=[3, 4, 5]), "BTC-USDT", "1m")
    assert opens(storage.get_ohlcv_data("BTC-USDT", "1m")) == [START + n * MINUTE for n in (0, 1, 2, 6, 7, 8, 9)]


def test_candles_come_as_arrays_too(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 100)
    storage.save_ohlcv_data(candles_frame(batch), "BTC-USDT", "1m")
    got = storage.get_candles("BTC-USDT", "1m", START + 10 * MINUTE, START + 19 * MINUTE)
    assert np.array_equal(got.close, batch.close[10:20])


def test_an_unknown_symbol_is_not_found_and_near_ones_are_named(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(1), "DOGE-USDT-SWAP", "1m")
    with pytest.raises(DataNotFoundError, match=r"no candles of DOGE-USDT are stored.*DOGE-USDT-SWAP"):
        storage.get_ohlcv_data("DOGE/USDT", "1m")
    with pytest.raises(DataNotFoundError, match="chandlery collect XYZ"):
        storage.get_ohlcv_data("XYZ", "1m")


def test_a_known_symbol_without_candles_of_a_timeframe_reads_as_nothing(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(1), "BTC-USDT", "1m")
    nothing = storage.get_ohlcv_data("BTC-USDT", "4h")
    assert list(nothing.columns) == COLUMNS
    assert nothing.empty


@pytest.mark.parametrize("interval", ["7m", "1H", "", "1m; DROP TABLE chandlery.candle"])
def test_an_unknown_interval_is_refused_with_those_there_are(storage: PostgreSQLStorage, interval: str) -> None:
    for use in (storage.get_ohlcv_data, storage.get_latest_timestamp, save_one_with(storage)):
        with pytest.raises(DataValidationError, match="1m, 3m, 5m"):
            use("BTC-USDT", interval)


def test_the_newest_candle_tells_the_latest_time(storage: PostgreSQLStorage) -> None:
    assert storage.get_latest_timestamp("BTC-USDT", "1m") is None
    storage.save_ohlcv_data(frame(3), "BTC-USDT", "1m")
    storage.save_ohlcv_data(frame(3, start=START - DAY), "BTC-USDT", "1m")
    assert storage.get_latest_timestamp("BTC/USDT", "1m") == datetime(2024, 1, 1, 0, 2, tzinfo=UTC)
    assert storage.get_latest_timestamp("BTC-USDT", "1d") is None


def test_the_available_intervals_are_those_with_candles_shortest_first(storage: PostgreSQLStorage) -> None:
    assert storage.get_available_intervals("BTC-USDT") == []
    for interval in ("1M", "1d", "1m", "2h"):
        storage.save_ohlcv_data(candles_frame(candles(series(interval=interval), 2)), "BTC-USDT", interval)
    assert storage.get_available_intervals("btc/usdt") == ["1m", "2h", "1d", "1M"]


def test_exchanges_are_kept_apart_and_okx_is_meant_where_none_is_named(
    storage: PostgreSQLStorage, database_url: str
) -> None:
    with PostgreSQLStorage(database_url, exchange="okx-simulated") as simulated:
        simulated.save_ohlcv_data(frame(5), "BTC-USDT", "1m")
        assert len(storage.get_ohlcv_data("BTC-USDT", "1m")) == 5  # the only ones there are
        storage.save_ohlcv_data(frame(2), "BTC-USDT", "1m")
        assert len(storage.get_ohlcv_data("BTC-USDT", "1m")) == 2
        assert len(simulated.get_ohlcv_data("BTC-USDT", "1m")) == 5


def test_a_series_that_was_asked_for_in_vain_hides_no_other_exchange(storage: PostgreSQLStorage) -> None:
    """A collection that failed is remembered, but nothing is stored of it."""
    storage.ledger.remember_error(series(), {"message": "unknown instrument"})
    with pytest.raises(DataNotFoundError, match=r"no candles of BTC-USDT are stored\. Collect it"):
        storage.get_ohlcv_data("BTC-USDT", "1m")
    with PostgreSQLStorage(storage.database.conninfo, exchange="okx-simulated") as simulated:
        simulated.save_ohlcv_data(frame(5), "BTC-USDT", "1m")
    assert len(storage.get_ohlcv_data("BTC-USDT", "1m")) == 5


# --- health


def test_a_healthy_database_passes_every_check(storage: PostgreSQLStorage) -> None:
    health = storage.health_check()
    assert health
    assert [check.name for check in health.checks] == ["connection", "server", "permissions", "schema"]
    assert health.latency_ms is not None
    assert not health.problems


def test_a_database_that_cannot_be_reached_is_a_finding_not_a_crash(database_url: str) -> None:
    with PostgreSQLStorage(make_conninfo(database_url, host="/nowhere")) as storage:
        health = storage.health_check()
        assert not health
        assert "PostgreSQL cannot be reached" in health.problems[0].found
        with pytest.raises(ConnectionError, match="PostgreSQL cannot be reached"):
            storage.get_ohlcv_data("BTC-USDT", "1m")


def test_a_database_without_tables_gets_them_when_it_is_first_used(new_database: Callable[..., str]) -> None:
    with PostgreSQLStorage(new_database(empty=True)) as storage:
        assert [check.name for check in storage.health_check().problems] == ["schema"]
        assert storage.save_ohlcv_data(frame(1), "BTC-USDT", "1m").inserted == 1
        assert storage.health_check()


def test_the_pool_tells_its_counters(storage: PostgreSQLStorage) -> None:
    storage.save_ohlcv_data(frame(1), "BTC-USDT", "1m")
    stats = storage.get_pool_stats()
    assert stats["pool_max"] == 15
    assert 1 <= stats["pool_size"] <= 15
    assert stats["requests_waiting"] == 0


def test_a_connection_string_that_is_none_is_refused_without_being_quoted() -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgreSQLStorage("user:hunter2@somewhere")
    assert "hunter2" not in str(caught.value)


def test_options_may_be_a_mapping(database_url: str) -> None:
    with PostgreSQLStorage(database_url, {"pool_size": 1, "max_overflow": 0}) as storage:
        assert storage.save_ohlcv_data(frame(1), "BTC-USDT", "1m").inserted == 1
        assert storage.get_pool_stats()["pool_max"] == 1


def test_a_closed_storage_refuses_in_our_own_words(database_url: str) -> None:
    storage = PostgreSQLStorage(database_url)
    storage.save_ohlcv_data(frame(1), "BTC-USDT", "1m")
    storage.close()
    with pytest.raises(DatabaseError):
        storage.save_ohlcv_data(frame(2), "BTC-USDT", "1m")


def test_threads_may_share_it(storage: PostgreSQLStorage) -> None:
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                storage.save_ohlcv_data(frame(50, start=START + turn * 50 * MINUTE), f"T{number % 4}-USDT", "1m")
                storage.get_ohlcv_data(f"T{number % 4}-USDT", "1m")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [len(storage.get_ohlcv_data(f"T{number}-USDT", "1m")) for number in range(4)] == [250] * 4
    assert not rejected(storage)


def opens_of(rows: int) -> list[int]:
    return [START + n * MINUTE for n in range(rows)]


def revisions(storage: PostgreSQLStorage) -> list[tuple[float, float, bool]]:
    statement = "SELECT old_close, new_close, replaced FROM chandlery.revision ORDER BY open_time"
    return storage.database.transact(lambda connection: connection.execute(statement).fetchall())


def save_one_with(storage: PostgreSQLStorage) -> Callable[[str, str], SaveResult]:
    return lambda symbol, interval: storage.save_ohlcv_data(frame(1), symbol, interval)
