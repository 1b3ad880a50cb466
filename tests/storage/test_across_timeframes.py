"""Many series in one call, a coarse series beside a fine one without looking ahead, the newest candle of all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import psycopg
import pytest
from psycopg import errors

from candles import START, candles, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import DataNotFoundError, DataValidationError
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery

MINUTE = 60_000
DAY = 86_400_000
VALUES = ["timestamp", "open", "high", "low", "close", "volume", "quote_volume"]
ALIGNED = """
SELECT * FROM chandlery.aligned(%(symbol)s, %(fine)s, %(coarse)s, %(start)s, %(end)s) AS lined_up
"""


def keep(storage: PostgreSQLStorage, *batches: CandleBatch) -> None:
    storage.require_schema()
    storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])


def rows_of(storage: PostgreSQLStorage, statement: str, **parameters: object) -> pd.DataFrame:
    """What people's SQL gives, in a session whose zone has daylight saving."""
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute("SET timezone = 'America/New_York'")
        cursor = connection.execute(statement, parameters or None)
        frame = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])
    times = [name for name in frame if str(name).endswith("timestamp")]
    floats = [name for name in frame if str(name).rpartition("_")[2] in (*VALUES[1:], "volume")]
    return frame.astype(dict.fromkeys(times, "datetime64[ns, UTC]") | dict.fromkeys(floats, "float64"))


# --- several series


def test_several_symbols_and_intervals_come_in_one_frame_in_the_order_asked(storage: PostgreSQLStorage) -> None:
    asked = [series(symbol, interval) for symbol in ("ETH-USDT", "BTC-USDT") for interval in ("1h", "1m")]
    batches = [candles(of, 30 + number, seed=number) for number, of in enumerate(asked)]
    keep(storage, *batches)
    frame = storage.get_ohlcv_data(["eth/usdt", "BTC-USDT"], ["1h", "1m"])
    assert list(frame.columns) == ["symbol", "timeframe", *VALUES]
    expected = pd.concat([candles_frame(batch) for batch in batches], ignore_index=True)
    pd.testing.assert_frame_equal(frame[VALUES], expected, check_exact=True)
    named = [(b.series.symbol, b.series.timeframe.name) for b in batches for _ in range(len(b))]
    assert list(zip(frame["symbol"].astype(str), frame["timeframe"].astype(str), strict=True)) == named


def test_one_symbol_in_several_intervals_may_be_named_as_text(storage: PostgreSQLStorage) -> None:
    keep(storage, candles(series(), 60), candles(series(interval="1h"), 2))
    frame = storage.get_ohlcv_data("BTC-USDT", ["1h", "1m"], end_date=START)
    assert [*frame["timeframe"]] == ["1h", "1m"]
    only = storage.get_ohlcv_data(["BTC-USDT"], "1m")
    pd.testing.assert_frame_equal(only[VALUES], storage.get_ohlcv_data("BTC-USDT", "1m"), check_exact=True)


def test_all_symbols_that_are_not_stored_are_named_at_once(storage: PostgreSQLStorage) -> None:
    keep(storage, candles(series(), 1))
    with pytest.raises(DataNotFoundError, match="no candles of BTC-USDC, XYZ-USDT are stored") as caught:
        storage.get_ohlcv_data(["BTC-USDT", "BTC-USDC", "XYZ-USDT"], "1m")
    assert "BTC-USDT" in caught.value.hint
    with (
        pytest.raises(DataNotFoundError, match="BTC-USDT"),
        PostgreSQLStorage(storage.database.conninfo, exchange="elsewhere") as other,
    ):
        other.get_ohlcv_data("BTC-USDT", "1m")
    with pytest.raises(DataValidationError, match="no symbol"):
        storage.get_ohlcv_data([], "1m")


def test_the_reader_gives_the_columns_that_were_asked_for(storage: PostgreSQLStorage) -> None:
    batches = [candles(series(symbol), 5) for symbol in ("BTC-USDT", "ETH-USDT")]
    keep(storage, *batches)
    wanted = [batches[1].series, series("NOT-THERE"), batches[0].series]
    table = storage.reader.read(wanted, batches[0].span, columns=("close",))
    assert table.rows.column_names == ["close"]
    assert table.edges.tolist() == [0, 5, 5, 10]
    assert table.rows["close"].to_pylist() == [*batches[1].close.tolist(), *batches[0].close.tolist()]


# --- lined up


def with_gaps(batch: CandleBatch, seed: int) -> CandleBatch:
    """Without some candles here and there, and without a long run of them."""
    rng = np.random.default_rng(seed)
    kept = rng.random(len(batch)) > 0.15
    hole = int(rng.integers(0, len(batch)))
    kept[hole : hole + len(batch) // 4] = False
    return batch.take(kept)


def lined_up_by_pandas(fine: CandleBatch, coarse: CandleBatch) -> pd.DataFrame:
    right = candles_frame(coarse).add_prefix("coarse_")
    right["known"] = pd.to_datetime(coarse.series.timeframe.close_of(coarse.open_time), unit="ms", utc=True)
    right["known"] = right["known"].astype("datetime64[ns, UTC]")
    left = candles_frame(fine)
    return pd.merge_asof(left, right, left_on="timestamp", right_on="known").drop(columns="known")


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [("1m", "5m"), ("5m", "1h"), ("1h", "1d"), ("12h", "1w"), ("1d", "1M"), ("1w", "1M"), ("4h", "15m")],
)
def test_lining_up_agrees_with_merge_asof_whatever_is_missing(
    storage: PostgreSQLStorage, fine: str, coarse: str
) -> None:
    bars = {"fine": 400, "coarse": 60 if coarse != "1M" else 20}
    slow = series(interval=coarse)
    for seed in range(3):
        symbol = f"S{seed}-USDT"
        coarser = candles(series(symbol, coarse), bars["coarse"], start=START + 5 * DAY, seed=seed)
        middle = slow.timeframe.shift(int(coarser.open_time[0]), -2)
        finer = with_gaps(candles(series(symbol, fine), bars["fine"], start=middle, seed=seed + 1), seed)
        coarser = with_gaps(coarser, seed + 2)
        keep(storage, finer, coarser)
        for first, last in ((0, len(finer) - 1), (len(finer) // 3, len(finer) // 2)):
            part = finer.take(slice(first, last + 1))
            start, end = int(part.open_time[0]), int(part.open_time[-1])
            expected = lined_up_by_pandas(part, coarser)
            in_python = storage.get_aligned(symbol, fine, coarse, start, end)
            pd.testing.assert_frame_equal(in_python, expected, check_exact=True)
            span = {"start": to_datetime(start), "end": to_datetime(end + 1)}
            in_sql = rows_of(storage, ALIGNED, symbol=symbol, fine=fine, coarse=coarse, **span)
            pd.testing.assert_frame_equal(in_sql, expected, check_exact=True)


def test_a_coarse_candle_is_known_from_its_close_on_and_not_before(storage: PostgreSQLStorage) -> None:
    keep(storage, candles(series(), 121), candles(series(interval="1h"), 2))
    frame = storage.get_aligned("BTC-USDT", "1m", "1h").set_index("timestamp")["coarse_timestamp"]
    midnight = pd.Timestamp(START, unit="ms", tz="UTC")
    assert frame[: midnight + pd.Timedelta("59min")].isna().all()
    assert frame[midnight + pd.Timedelta("60min")] == midnight
    assert frame[midnight + pd.Timedelta("119min")] == midnight
    assert frame[midnight + pd.Timedelta("120min")] == midnight + pd.Timedelta("60min")
    itself = storage.get_aligned("BTC-USDT", "1m", "1m")
    assert (itself["coarse_timestamp"].dropna() == itself["timestamp"][:-1].to_numpy()).all()


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_the_close_time_is_that_of_the_domain_in_every_zone(storage: PostgreSQLStorage, name: str) -> None:
    bar = TIMEFRAMES[name]
    opens = [bar.shift(START, bars) for bars in range(0, 500, 7)]
    closes = rows_of(
        storage,
        "SELECT chandlery.close_time(opens, %(name)s) AS timestamp FROM unnest(%(opens)s::timestamptz[]) AS opens",
        name=name,
        opens=[to_datetime(time) for time in opens],
    )
    assert closes["timestamp"].astype("int64").tolist() == [bar.close_of(time) * 1_000_000 for time in opens]


def test_what_cannot_be_lined_up_is_said_in_a_sentence(storage: PostgreSQLStorage) -> None:
    keep(storage, candles(series(), 1))
    span = {"start": to_datetime(START), "end": to_datetime(START + DAY)}
    with pytest.raises(errors.NoDataFound, match="no candles of XYZ-USDT are stored"):
        rows_of(storage, ALIGNED, symbol="XYZ-USDT", fine="1m", coarse="1h", **span)
    with pytest.raises(errors.InvalidParameterValue, match="'7m' is not a timeframe"):
        rows_of(storage, ALIGNED, symbol="BTC-USDT", fine="1m", coarse="7m", **span)


# --- the newest


def test_the_newest_candle_of_every_series_wherever_it_lies(storage: PostgreSQLStorage) -> None:
    newest = {f"N{number}-USDT": START - number**3 * DAY for number in range(12)}  # from today to three years ago
    keep(storage, *(candles(series(symbol), 3, start=time, seed=5) for symbol, time in newest.items()))
    keep(storage, candles(series("N0-USDT", "1h"), 3))
    frame = storage.get_latest_candles()
    assert frame["symbol"].tolist() == sorted(newest)
    assert dict(zip(frame["symbol"], frame["timestamp"].astype("int64") // 1_000_000, strict=True)) == {
        symbol: time + 2 * MINUTE for symbol, time in newest.items()
    }
    assert list(frame.columns) == ["exchange", "symbol", *["timeframe", *VALUES]]
    view = rows_of(
        storage,
        "SELECT DISTINCT ON (symbol) * FROM chandlery.ohlcv WHERE timeframe = '1m' ORDER BY symbol, timestamp DESC",
    )
    pd.testing.assert_frame_equal(frame, view, check_dtype=False, check_exact=True)


def test_the_newest_candles_of_some_symbols(storage: PostgreSQLStorage) -> None:
    keep(storage, *(candles(series(symbol), 2) for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT")))
    assert storage.get_latest_candles(["sol/usdt", "BTC-USDT"])["symbol"].tolist() == ["BTC-USDT", "SOL-USDT"]
    assert storage.get_latest_candles("BTC-USDT", "1h").empty
    assert storage.get_latest_candles(interval="1M").empty
    with pytest.raises(DataNotFoundError, match="XYZ-USDT"):
        storage.get_latest_candles(["BTC-USDT", "XYZ-USDT"])


def test_the_newest_candle_is_found_where_the_ledger_knows_more_than_there_are_candles(
    storage: PostgreSQLStorage,
) -> None:
    """The exchange may have answered with nothing for years."""
    storage.require_schema()
    old = candles(series("OLD-USDT"), 3, start=START - 2_000 * DAY)
    covered = old.runs() | candles(old.series, 3).runs()
    storage.writer.write([Delivery(batch=old, covered=covered)])
    assert storage.get_latest_candles()["timestamp"].astype("int64").tolist() == [int(old.open_time[-1]) * 1_000_000]


# --- for everybody


def test_a_role_that_may_only_read_can_use_all_functions(storage: PostgreSQLStorage) -> None:
    keep(storage, candles(series(), 120), candles(series(interval="1h"), 2))
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute("CREATE ROLE onlooker")  # undone with the transaction
        connection.execute("GRANT USAGE ON SCHEMA chandlery TO onlooker")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA chandlery TO onlooker")
        connection.execute("SET LOCAL ROLE onlooker")
        connection.execute("SET LOCAL search_path = pg_temp")
        connection.execute("SET TRANSACTION READ ONLY")
        lined_up = connection.execute(
            "SELECT count(coarse_close) FROM chandlery.aligned('BTC-USDT', '1m', '1h', %s, 'infinity')",
            [to_datetime(START)],
        )
        assert lined_up.fetchone() == (60,)
        newest = connection.execute("SELECT symbol, timeframe FROM chandlery.latest('1h')").fetchall()
        assert newest == [("BTC-USDT", "1h")]
        connection.rollback()


def test_sql_finds_the_exchange_that_has_candles_though_okx_was_asked_in_vain(storage: PostgreSQLStorage) -> None:
    keep(storage, candles(series(exchange="okx-demo"), 3), candles(series(interval="1h", exchange="okx-demo"), 3))
    storage.ledger.remember_error(series(), {"message": "unknown instrument"})

    start, end = to_datetime(START), to_datetime(START + DAY)
    found = rows_of(storage, ALIGNED, symbol="BTC-USDT", fine="1m", coarse="1h", start=start, end=end)

    assert len(found) == 3
