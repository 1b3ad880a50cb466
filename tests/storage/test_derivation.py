"""Derived candles are what the stored finer ones make: never in a fetched one's place, never stale, never torn."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from candles import START, candles, changed, series
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.rollup import roll_up, touched_bars
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import timeframe
from chandlery.services.seal import Sealer
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery, SaveResult, Writer

HOUR = 3_600_000
DAY = Span(START, START + 24 * HOUR)
EVER = Span(0, 4_102_444_800_000)
HOURS = series(interval="1h")
NOTHING = Spans()


def write(storage: PostgreSQLStorage, *batches: CandleBatch) -> SaveResult:
    return storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])


def derive(storage: PostgreSQLStorage, of: Series, bars: Span = DAY, finer: str = "1m") -> SaveResult:
    return storage.writer.derive(of, timeframe(finer), bars)


def entry(storage: PostgreSQLStorage, of: Series) -> LedgerEntry:
    return next(entry for entry in storage.ledger.entries() if entry.series == of)


def hours(first: int, end: int) -> Spans:
    return Spans([Span(START + first * HOUR, START + end * HOUR)])


def assert_stored(storage: PostgreSQLStorage, batch: CandleBatch) -> None:
    stored = storage.reader.candles(batch.series, EVER)
    assert stored.open_time.tolist() == batch.open_time.tolist()
    assert same_values(stored, batch).all()


@pytest.mark.parametrize("interval", ["3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"])
def test_bars_wholly_known_in_the_finer_series_are_made_and_marked(storage: PostgreSQLStorage, interval: str) -> None:
    minutes = candles(series(), 3 * 1440 - 77, start=START + 13 * 60_000)
    write(storage, minutes)
    coarse = series(interval=interval)
    made, bars = roll_up(minutes, coarse.timeframe, minutes.runs())
    assert derive(storage, coarse, Span(START, START + 72 * HOUR)) == SaveResult(inserted=len(made))
    assert_stored(storage, made)
    assert (entry(storage, coarse).spans, entry(storage, coarse).derived) == (bars, bars)
    assert derive(storage, coarse, Span(START, START + 72 * HOUR)) == SaveResult(), "a second time there is nothing"


def test_a_known_hour_without_any_minute_makes_no_candle_and_is_known(storage: PostgreSQLStorage) -> None:
    minutes = candles(series(), 180).take(np.r_[0:60, 120:180])
    storage.writer.write([Delivery(batch=minutes, covered=hours(0, 3))])
    assert derive(storage, HOURS).inserted == 2
    assert storage.ledger.covered(HOURS) == hours(0, 3)


def test_what_was_fetched_is_never_overwritten(storage: PostgreSQLStorage) -> None:
    """Even where it differs from what the minutes make."""
    fetched = changed(candles(HOURS, 2, start=START + 3 * HOUR), slice(0, 2), by=5.0)
    write(storage, fetched, candles(series(), 1440))
    assert derive(storage, HOURS) == SaveResult(inserted=22)
    stored = storage.reader.candles(HOURS, EVER)
    assert same_values(stored.take(slice(3, 5)), fetched).all()
    assert entry(storage, HOURS).derived == hours(0, 24) - hours(3, 5)
    assert entry(storage, HOURS).spans == hours(0, 24)


def test_what_is_fetched_later_takes_the_derived_ones_place(storage: PostgreSQLStorage) -> None:
    """Equal values change nothing but the mark; others show as a revision."""
    minutes = candles(series(), 1440)
    write(storage, minutes)
    derive(storage, HOURS)
    made, _ = roll_up(minutes, HOURS.timeframe, hours(0, 24))
    sent = changed(made, slice(7, 8)).take(slice(5, 9))
    assert write(storage, sent) == SaveResult(unchanged=3, revised=1)
    assert entry(storage, HOURS).derived == hours(0, 24) - hours(5, 9)
    assert entry(storage, HOURS).spans == hours(0, 24)
    assert storage.reader.candles(HOURS, EVER).close[7] == sent.close[2]


def test_what_many_series_fetch_at_once_takes_the_derived_ones_place(storage: PostgreSQLStorage) -> None:
    """The way of a stream, which stores a candle of each of many series in a few statements."""
    others = [candles(series("ETH-USDT", "1h"), 1), candles(series("SOL-USDT", "1h"), 1)]
    storage.writer.write([Delivery(batch=CandleBatch.empty(series()), covered=hours(0, 2))])
    derive(storage, HOURS)
    assert entry(storage, HOURS).derived == hours(0, 2)
    write(storage, candles(HOURS, 1), *others)
    assert (entry(storage, HOURS).spans, entry(storage, HOURS).derived) == (hours(0, 2), hours(1, 2))


@pytest.mark.parametrize("together", [False, True], ids=["alone", "with another series"])
def test_a_revised_minute_takes_its_derived_bars_out_of_the_ledger(storage: PostgreSQLStorage, together: bool) -> None:
    """In the same transaction; and they are made again, of the new values."""
    minutes = candles(series(), 1440)
    write(storage, minutes)
    coarse = [series(interval=name) for name in ("5m", "1h", "4h", "1d")]
    for one in coarse:
        derive(storage, one)
    later = changed(minutes, slice(725, 727), by=50.0)
    beside = [candles(series("ETH-USDT"), 3)] if together else []
    write(storage, later.take(slice(720, 730)), *beside)
    change = Spans([Span(START + 725 * 60_000, START + 727 * 60_000)])
    for one in coarse:
        left = Spans([DAY]) - touched_bars(one.timeframe, change)
        assert (entry(storage, one).spans, entry(storage, one).derived) == (left, left)
        derive(storage, one)
        assert_stored(storage, roll_up(later, one.timeframe, Spans([DAY]))[0])
        assert entry(storage, one).derived == Spans([DAY])


@pytest.mark.parametrize("together", [False, True], ids=["alone", "with another series"])
def test_a_minute_that_turns_up_in_a_known_span_does_so_too(storage: PostgreSQLStorage, together: bool) -> None:
    """The exchange had nothing for it, an hour was made without it, and then somebody saved it after all."""
    minutes = candles(series(), 120)
    without = minutes.take(np.arange(120) != 30)
    storage.writer.write([Delivery(batch=without, covered=hours(0, 2))])
    derive(storage, HOURS)
    beside = [candles(series("ETH-USDT"), 3)] if together else []
    write(storage, minutes.take(slice(30, 31)), *beside)
    assert storage.ledger.covered(HOURS) == hours(1, 2)
    derive(storage, HOURS)
    assert_stored(storage, roll_up(minutes, HOURS.timeframe, hours(0, 2))[0])


def test_a_revised_minute_leaves_fetched_bars_alone(storage: PostgreSQLStorage) -> None:
    minutes = candles(series(), 1440)
    write(storage, minutes, candles(HOURS, 12))
    derive(storage, HOURS)
    write(storage, changed(minutes, slice(60, 61)))
    assert storage.ledger.covered(HOURS) == hours(0, 24)


def test_derived_bars_stay_where_revisions_are_kept_out(storage: PostgreSQLStorage) -> None:
    """The minute keeps its old value, so the hour made of it is right still."""
    minutes = candles(series(), 1440)
    write(storage, minutes)
    derive(storage, HOURS)
    keeping = Writer(storage.database, storage.catalog, on_revision="keep")
    later = changed(minutes, slice(60, 61))
    assert keeping.write([Delivery(batch=later, covered=later.runs())]).revised == 1
    assert entry(storage, HOURS).derived == hours(0, 24)


@pytest.mark.parametrize("stale", [False, True], ids=["still true", "stale"])
def test_where_first_values_are_kept_those_of_the_exchange_are(storage: PostgreSQLStorage, stale: bool) -> None:
    """An hour that we made gives way to the exchange's own, one that the exchange sent before does not.

    A minute that turns up late makes an hour stale.
    """
    minutes = candles(series(), 240)
    without = minutes.take(np.arange(240) != 70)
    storage.writer.write([Delivery(batch=without, covered=hours(0, 4))])
    keeping = Writer(storage.database, storage.catalog, on_revision="keep")
    sent = candles(HOURS, 4).take(slice(0, 1))
    keeping.write([Delivery(batch=sent, covered=hours(0, 1))])
    derive(storage, HOURS)
    if stale:
        keeping.write([Delivery(batch=minutes.take(slice(70, 71)), covered=hours(1, 2))])
        assert storage.ledger.covered(HOURS) == hours(0, 1) | hours(2, 4)
        assert entry(storage, HOURS).derived == hours(2, 4), "what is not known is not told as derived"

    first, ours = storage.reader.candles(HOURS, EVER).take(slice(0, 1)), storage.reader.candles(HOURS, EVER)
    other = changed(ours, slice(0, 3), by=9.0).take(slice(0, 3))
    assert keeping.write([Delivery(batch=other, covered=hours(0, 3))]) == SaveResult(revised=3)
    now = storage.reader.candles(HOURS, EVER)
    assert same_values(now.take(slice(0, 1)), first).all()
    assert same_values(now.take(slice(1, 3)), other.take(slice(1, 3))).all()
    assert same_values(now.take(slice(3, 4)), ours.take(slice(3, 4))).all()
    assert entry(storage, HOURS).derived == hours(3, 4)
    said = "SELECT replaced FROM chandlery.revision ORDER BY open_time"
    assert storage.database.transact(lambda c: c.execute(said).fetchall()) == [(False,), (True,), (True,)]
    again = changed(other, slice(0, 3), by=9.0)
    keeping.write([Delivery(batch=again, covered=hours(0, 3))])
    assert same_values(storage.reader.candles(HOURS, EVER), now).all(), "now they are the exchange's first"


def test_new_minutes_at_the_end_disturb_nothing(storage: PostgreSQLStorage) -> None:
    """The ledger of the coarse series is not touched by what its bars are not made of."""
    minutes = candles(series(), 1440)
    write(storage, minutes.take(slice(0, 150)))
    derive(storage, HOURS)
    before = entry(storage, HOURS)
    write(storage, minutes)
    assert entry(storage, HOURS) == before


def test_of_derived_candles_coarser_ones_are_made(storage: PostgreSQLStorage) -> None:
    """1m to 5m to 1h is 1m to 1h; and the five minutes made later do not undo the hours made before."""
    minutes = candles(series(), 1440)
    write(storage, minutes)
    derive(storage, HOURS)
    derive(storage, series(interval="5m"))
    assert entry(storage, HOURS).derived == hours(0, 24)
    derive(storage, series(interval="4h"), finer="5m")
    assert_stored(storage, roll_up(minutes, timeframe("4h"), Spans([DAY]))[0])


def test_of_sealed_candles_coarser_ones_are_made(storage: PostgreSQLStorage) -> None:
    """January is sealed and its rows are gone; February stands as rows."""
    batch = candles(series(interval="30m"), 40 * 48)
    write(storage, batch)
    sealer = Sealer(storage)
    [sealed] = sealer.entries()
    sealer.seal(sealed, before=EVER.end)
    assert sealer.drop_rows(sealed).rows_dropped == 31 * 48
    coarse, month = series(interval="4h"), Span(START, START + 40 * 24 * HOUR)
    assert derive(storage, coarse, month, finer="30m").inserted == 240
    assert_stored(storage, roll_up(batch, coarse.timeframe, Spans([month]))[0])


def test_writers_that_revise_and_derivers_never_wait_in_a_circle_nor_leave_a_stale_bar(
    database_url: str,
) -> None:
    """Threads revise minutes of two symbols, alone and in one write, while others make and remake bars of them.

    Nothing is tried twice, so a deadlock would fail the test.
    """
    with PostgreSQLStorage(database_url, {"patience_s": 0.0}) as storage:
        revise_and_derive(storage)


def revise_and_derive(storage: PostgreSQLStorage) -> None:
    coarse = ("5m", "1h", "4h")
    bases = [candles(series(symbol), 480) for symbol in ("BTC-USDT", "ETH-USDT")]
    write(storage, *bases)
    start = threading.Barrier(6)

    def revise(number: int) -> None:
        start.wait()
        for turn in range(8):
            first = (number * 97 + turn * 53) % 470
            news = [changed(base, slice(first, first + 3), by=1.0 + number + turn) for base in bases]
            parts = [new.take(slice(first, first + 3)) for new in news]
            write(storage, *(parts if turn % 2 else parts[:1]))

    def make(number: int) -> None:
        start.wait()
        for turn in range(12):
            of = replace(bases[(number + turn) % 2].series, timeframe=timeframe(coarse[turn % 3]))
            storage.writer.derive(of, timeframe("1m"), DAY)

    with ThreadPoolExecutor(6) as threads:
        jobs = [threads.submit(job, number) for number in range(3) for job in (revise, make)]
        for job in jobs:
            job.result()

    for base in bases:
        minutes = storage.reader.candles(base.series, EVER)
        for name in coarse:
            of = replace(base.series, timeframe=timeframe(name))
            known = storage.ledger.covered(of)
            expected, _ = roll_up(minutes, of.timeframe, known)
            stored = storage.reader.candles(of, EVER)
            in_ledger = stored.take(np.isin(stored.open_time, expected.open_time))
            assert len(in_ledger) == len(expected)
            assert same_values(in_ledger, expected).all(), "what the ledger counts as known is what the minutes make"
