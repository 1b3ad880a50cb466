"""What is written is exactly what was handed over, once, with a ledger that claims no more than that."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import psycopg
import pytest

from candles import START, candles, changed, series
from chandlery.domain.candle import CandleBatch, Rejected, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import DatabaseError
from chandlery.storage.copy_binary import candles_from
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.target import Manner, PartitionGone, Target
from chandlery.storage.writer import Delivery, SaveResult, Writer

EVER = Span(0, 4_102_444_800_000)


def delivery(batch: CandleBatch, **more: Any) -> Delivery:
    return Delivery(batch=batch, covered=batch.runs(), **more)


def stored(storage: PostgreSQLStorage, batch: CandleBatch) -> CandleBatch:
    return storage.reader.candles(batch.series, EVER)


def assert_equal(left: CandleBatch, right: CandleBatch) -> None:
    assert np.array_equal(left.open_time, right.open_time)
    assert same_values(left, right).all()


@pytest.mark.parametrize("interval", TIMEFRAMES)
def test_every_timeframe_comes_back_to_the_last_bit(storage: PostgreSQLStorage, interval: str) -> None:
    batch = candles(series(interval=interval), 500)
    assert storage.writer.write([delivery(batch)]) == SaveResult(inserted=500)
    assert_equal(stored(storage, batch), batch)
    assert storage.ledger.covered(batch.series) == batch.runs()


def test_writing_the_same_twice_changes_nothing(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 1_000)
    storage.writer.write([delivery(batch)])
    assert storage.writer.write([delivery(batch)]) == SaveResult(unchanged=1_000)
    assert_equal(stored(storage, batch), batch)


def test_overlapping_batches_store_each_candle_once(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 1_000)
    storage.writer.write([delivery(batch.take(slice(200, 700)))])
    result = storage.writer.write([delivery(batch)])
    assert result == SaveResult(inserted=500, unchanged=500)
    assert_equal(stored(storage, batch), batch)


def test_a_revision_takes_the_place_and_the_old_values_are_kept(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 100)
    later = changed(batch, slice(10, 13))
    storage.writer.write([delivery(batch)])
    assert storage.writer.write([delivery(later)]) == SaveResult(unchanged=97, revised=3)
    assert_equal(stored(storage, batch), later)
    rows = storage.database.transact(
        lambda c: c.execute(
            "SELECT old_close, new_close, replaced FROM chandlery.revision ORDER BY open_time"
        ).fetchall()
    )
    assert rows == [(batch.close[i], later.close[i], True) for i in (10, 11, 12)]


def test_revisions_can_be_kept_out(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 100)
    writer = Writer(storage.database, storage.catalog, on_revision="keep")
    writer.write([delivery(batch)])
    assert writer.write([delivery(changed(batch, slice(5, 6)))]).revised == 1
    assert_equal(stored(storage, batch), batch)
    assert storage.database.transact(
        lambda c: c.execute("SELECT count(*) FROM chandlery.revision WHERE NOT replaced").fetchone()
    ) == (1,)


def test_a_batch_may_span_partitions_and_copies(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 60_000, start=START - 20 * 86_400_000)  # from December to January
    writer = Writer(storage.database, storage.catalog, rows_per_copy=7_000)
    assert writer.write([delivery(batch)]).inserted == 60_000
    assert_equal(stored(storage, batch), batch)


def test_a_sparse_batch_is_compared_with_no_more_at_a_time_than_a_dense_one(
    storage: PostgreSQLStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies between its candles is read in pieces, however far apart they are."""
    dense = candles(series(), 5_000)
    storage.writer.write([delivery(dense)])
    read: list[int] = []

    def counting(rows: bytes, of: Series) -> CandleBatch:
        stored = candles_from(rows, of)
        read.append(len(stored))
        return stored

    monkeypatch.setattr("chandlery.storage.sealed.candles_from", counting)
    sparse = dense.take(np.array([0, 1, 999, 1_000, 4_998, 4_999]))
    writer = Writer(storage.database, storage.catalog, rows_per_copy=1_000)
    assert writer.write([delivery(sparse)]) == SaveResult(unchanged=6)
    assert max(read) <= 1_000
    assert sum(read) >= 6


def test_a_failure_undoes_everything_the_ledger_included(storage: PostgreSQLStorage) -> None:
    """The second series fails for a reason that is not in its rows: its ledger's table refuses it."""
    good, bad = candles(series("BTC-USDT"), 10), candles(series("ETH-USDT"), 10)
    numbers = [storage.catalog.ensure("okx", symbol) for symbol in ("BTC-USDT", "ETH-USDT")]
    refuse = f"ALTER TABLE chandlery.coverage ADD CONSTRAINT none_of_his CHECK (instrument_id <> {numbers[1]})"
    storage.database.transact(lambda c: c.execute(refuse))  # type: ignore[call-overload]
    with pytest.raises(DatabaseError, match="none_of_his") as caught:
        storage.writer.write([delivery(good), delivery(bad)])
    assert caught.value.sqlstate == "23514"
    assert not caught.value.transient
    assert not len(stored(storage, good))
    assert not storage.ledger.covered(good.series)


def test_the_ledger_takes_spans_that_hold_no_candle(storage: PostgreSQLStorage) -> None:
    empty = CandleBatch.empty(series())
    quiet = Spans([Span(START, START + 600_000)])
    assert storage.writer.write([Delivery(batch=empty, covered=quiet)]) == SaveResult()
    assert storage.ledger.covered(empty.series) == quiet


def test_rejected_rows_are_kept_once_with_reason_and_raw_text(storage: PostgreSQLStorage) -> None:
    one = series()
    rejected = Rejected(
        series=one,
        open_time=[START, START, None, 10**17],
        reason=["bad", "bad", "no time", "far"],
        raw=["a\0", "a\0", "b", "c"],
    )
    given = Delivery(batch=CandleBatch.empty(one), covered=Spans(), rejected=rejected)
    for _ in range(2):
        assert storage.writer.write([given]).rejected == 4
    rows = storage.database.transact(
        lambda c: c.execute("SELECT reason, raw, times_seen FROM chandlery.rejected ORDER BY reason").fetchall()
    )
    assert rows == [("bad", "a\\0", 4), ("far", "c", 2), ("no time", "b", 2)]


def test_a_writer_from_outside_costs_neither_his_rows_nor_ours(storage: PostgreSQLStorage, database_url: str) -> None:
    """He inserts without our lock, after we looked and before we copy."""
    batch = candles(series(), 300)
    his = batch.take(slice(0, 20))
    differing = changed(batch, slice(10, 20))
    storage.writer.write([delivery(candles(series(), 1, start=START - 60_000))])  # the partition exists
    instrument_id = storage.catalog.find("okx", "BTC-USDT")
    looked, inserted = threading.Event(), threading.Event()

    def insert_from_outside() -> None:
        looked.wait(10)
        with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO chandlery.candle_1m VALUES (to_timestamp(%s / 1000.0), %s, %s, %s, %s, %s, %s, %s, '1m')",
                [(*(column[i].item() for column in his.columns().values()), instrument_id) for i in range(len(his))],
            )
        inserted.set()

    progressed = storage.database.progressed
    storage.database.progressed = lambda connection: (looked.set(), inserted.wait(10), progressed(connection))[2]  # type: ignore[method-assign]
    outsider = threading.Thread(target=insert_from_outside)
    outsider.start()
    result = storage.writer.write([delivery(differing)])
    outsider.join()
    assert result == SaveResult(inserted=280, unchanged=10, revised=10)
    assert_equal(stored(storage, batch).take(slice(1, None)), differing)


def test_many_writers_of_overlapping_series_neither_fail_nor_double(storage: PostgreSQLStorage) -> None:
    """New instruments, new partitions and shared candles at the same time: no deadlock, no error."""
    batches = [candles(series(symbol, interval), 2_000) for symbol in ("A-USDT", "B-USDT") for interval in ("1m", "1d")]
    failures: list[Exception] = []

    def write(order: int) -> None:
        try:
            for turn in range(len(batches)):
                batch = batches[(order + turn) % len(batches)]
                storage.writer.write([delivery(batch.take(slice(order * 100, order * 100 + 1_000)))])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(order,)) for order in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for batch in batches:
        assert_equal(stored(storage, batch), batch.take(slice(0, 1_700)))
        assert storage.ledger.covered(batch.series) == batch.take(slice(0, 1_700)).runs()


def test_a_dropped_partition_is_made_again(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 10)
    storage.writer.write([delivery(batch)])
    storage.database.transact(lambda c: c.execute("DROP TABLE chandlery.candle_1m_2024_01"))
    assert storage.writer.write([delivery(batch)]).inserted == 10


def test_a_partition_dropped_during_a_race_costs_no_candle(storage: PostgreSQLStorage) -> None:
    """What goes through a staging table says so too, instead of taking good candles for refused ones."""
    batch = candles(series(), 10)
    storage.writer.write([delivery(batch)])
    storage.database.transact(lambda c: c.execute("DROP TABLE chandlery.candle_1m_2024_01"))
    number = storage.catalog.ensure("okx", "BTC-USDT")
    manner = Manner(on_revision="replace", rows_per_copy=100, staged=True)

    def store(connection: psycopg.Connection) -> SaveResult:
        return Target(storage.database, connection, number, delivery(batch), manner).store()

    with pytest.raises(PartitionGone):
        storage.database.transact(store)


def test_the_view_is_for_people(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 3)
    silent = CandleBatch.of(batch.series, {**batch.columns(), "quote_volume": np.full(3, np.nan)})
    storage.writer.write([delivery(silent)])
    rows = storage.database.transact(
        lambda c: c.execute(
            'SELECT exchange, symbol, timeframe, close, volume, quote_volume FROM chandlery.ohlcv ORDER BY "timestamp"'
        ).fetchall()
    )
    assert rows == [("okx", "BTC-USDT", "1m", batch.close[i], batch.base_volume[i], None) for i in range(3)]


def test_silence_about_a_known_turnover_changes_nothing(storage: PostgreSQLStorage) -> None:
    batch = candles(series(), 5)
    silent = CandleBatch.of(batch.series, {**batch.columns(), "quote_volume": np.full(5, np.nan)})
    storage.writer.write([delivery(silent)])
    assert storage.writer.write([delivery(batch)]) == SaveResult(revised=5), "now it is told"
    assert storage.writer.write([delivery(silent)]) == SaveResult(unchanged=5)
    assert_equal(stored(storage, batch), batch)
