"""A segment is always true: whoever writes to sealed candles, by whatever way, drops it in the same transaction."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import LiteralString
from unittest.mock import ANY

import numpy as np
import psycopg
import pytest
from psycopg import IsolationLevel, errors
from psycopg.conninfo import make_conninfo

from candles import START, candles, changed, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.rollup import roll_up
from chandlery.domain.span import Span, Spans
from chandlery.errors import DamagedDataError, DatabaseError
from chandlery.services.seal import Sealer, SealReport, Unit
from chandlery.storage.database import DatabaseOptions
from chandlery.storage.delivery import Delivery, SaveResult
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import Sealed, SealedSeries, give_back_space, identical, sealing_units

DAY = 86_400_000
FIRST = START + 305 * DAY
"""2024-11-01 UTC."""
NOVEMBER, DECEMBER = Span(FIRST, FIRST + 30 * DAY), Span(FIRST + 30 * DAY, FIRST + 61 * DAY)
SEALED = 61 * 48
EVER = Span(0, 4_102_444_800_000)
HALF_HOURS = series(interval="30m")


def save(storage: PostgreSQLStorage, batch: CandleBatch, covered: Span | None = None) -> SaveResult:
    known = batch.runs() if covered is None else Spans([covered])
    return storage.writer.write([Delivery(batch=batch, covered=known)])


def seal(storage: PostgreSQLStorage, *, before: int = EVER.end, drop_rows: bool = False) -> SealReport:
    sealer, report = Sealer(storage), SealReport()
    for entry in sealer.entries():
        report += sealer.seal(entry, before=before)
        if drop_rows:
            report += sealer.drop_rows(entry)
    return report


def unseal(storage: PostgreSQLStorage, span: Span = EVER) -> SealReport:
    sealer = Sealer(storage)
    return sum((sealer.unseal(entry, span) for entry in sealer.entries()), SealReport())


def sealed(storage: PostgreSQLStorage, of: Series = HALF_HOURS) -> list[Sealed]:
    number = storage.catalog.ensure(of.exchange, of.symbol)
    return storage.database.transact(lambda c: SealedSeries(c, number, of).spans(EVER))


def rows(storage: PostgreSQLStorage, of: Series = HALF_HOURS) -> CandleBatch:
    """What stands as rows, whatever is sealed."""
    number = storage.catalog.ensure(of.exchange, of.symbol)
    return storage.database.transact(lambda c: SealedSeries(c, number, of).rows(EVER))


@pytest.fixture
def two_months(storage: PostgreSQLStorage) -> CandleBatch:
    """November and December 2024 in half hours, and the first candle of 2025, stored and covered."""
    batch = candles(HALF_HOURS, SEALED + 1, start=FIRST)
    save(storage, batch)
    return batch


@pytest.fixture
def by_hand(storage: PostgreSQLStorage, two_months: CandleBatch) -> Iterator[psycopg.Connection]:
    """Somebody with psql and two sealed months."""
    seal(storage)
    with psycopg.connect(storage.database.conninfo) as connection:
        yield connection


def test_every_timeframe_is_sealed_in_spans_that_lie_in_one_partition() -> None:
    names = {"1m": 12, "30m": 12, "1h": 1, "12h": 1, "1d": 1, "1w": 1, "1M": 1}
    year = Span(START, START + 366 * DAY)
    assert {name: len(sealing_units(series(interval=name).timeframe, year)) for name in names} == names


def test_only_closed_and_wholly_covered_months_are_sealed(storage: PostgreSQLStorage, two_months: CandleBatch) -> None:
    assert seal(storage, before=DECEMBER.end - 1).spans == 1
    assert sealed(storage) == [Sealed(NOVEMBER, rows_kept=True)]
    assert seal(storage, before=DECEMBER.end) == SealReport(
        spans=1, candles=31 * 48, bytes=pytest.approx(20_000, rel=1)
    )
    assert seal(storage) == SealReport()
    with_gap = candles(series("ETH-USDT", "30m"), SEALED, start=FIRST).take(np.arange(SEALED) != 100)
    save(storage, with_gap)
    seal(storage)
    assert sealed(storage, with_gap.series) == [Sealed(DECEMBER, rows_kept=True)]


@pytest.mark.parametrize("time", ["2024-11-05T00:01Z", "2024-11-05T00:00:00.0001Z"])
def test_a_month_with_rows_that_are_no_candles_is_passed_over(
    storage: PostgreSQLStorage, two_months: CandleBatch, time: str
) -> None:
    """To be sealed their times would have to be altered."""
    with psycopg.connect(storage.database.conninfo) as by_hand:
        statement = "INSERT INTO chandlery.candle SELECT %s, 2, 2, 2, 2, 2, 2, id, '30m' FROM chandlery.instrument"
        by_hand.execute(statement, [time])
    assert seal(storage, drop_rows=True).passed_over == (Unit(HALF_HOURS, NOVEMBER),)
    assert sealed(storage) == [Sealed(DECEMBER, rows_kept=False)]


def test_a_month_of_which_the_exchange_has_only_a_part_is_sealed(storage: PostgreSQLStorage) -> None:
    """History begins within it, and a quiet span in it is known to be quiet."""
    batch = candles(HALF_HOURS, SEALED, start=FIRST).take(slice(500, None)).take(np.arange(SEALED - 500) % 7 != 3)
    storage.ledger.remember_beginning(HALF_HOURS, int(batch.open_time[0]))
    save(storage, batch, Span(int(batch.open_time[0]), DECEMBER.end))
    assert seal(storage, drop_rows=True) == SealReport(spans=2, candles=len(batch), bytes=ANY, rows_dropped=806)
    assert unseal(storage) == SealReport(spans=2, candles=806)
    assert identical(rows(storage), batch)


def test_a_write_of_ours_drops_the_segment_it_changes_and_no_other(
    storage: PostgreSQLStorage, two_months: CandleBatch
) -> None:
    seal(storage)
    assert save(storage, two_months) == SaveResult(unchanged=len(two_months))
    assert len(sealed(storage)) == 2
    save(storage, changed(two_months, slice(7, 8)).take(slice(0, 20)))
    assert sealed(storage) == [Sealed(DECEMBER, rows_kept=True)]
    assert seal(storage).spans == 1


STATEMENTS = {
    "update": "UPDATE chandlery.candle_30m SET high = high + 1 WHERE open_time = '2024-11-05Z'",
    "update through the parent": "UPDATE chandlery.candle SET high = high + 1 WHERE open_time = '2024-11-05Z'",
    "delete": "DELETE FROM chandlery.candle_30m WHERE open_time = '2024-11-05Z'",
    "insert": "INSERT INTO chandlery.candle SELECT '2024-11-05T00:01Z', open, high, low, close, 0, 0, instrument_id,"
    " timeframe FROM chandlery.candle LIMIT 1",
    "copy": "COPY chandlery.candle FROM STDIN",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_a_write_by_hand_drops_the_segment_it_changes(
    storage: PostgreSQLStorage, by_hand: psycopg.Connection, statement: LiteralString
) -> None:
    with by_hand.cursor() as cursor:
        if statement.startswith("COPY"):
            number = storage.catalog.ensure("okx", "BTC-USDT")
            with cursor.copy(statement) as copy:
                copy.write(f"2024-11-05T00:01Z\t2\t2\t2\t2\t2\t2\t{number}\t30m\n")
        else:
            cursor.execute(statement)
            assert cursor.rowcount == 1
    assert len(sealed(storage)) == 2, "not committed yet"
    by_hand.commit()
    assert sealed(storage) == [Sealed(DECEMBER, rows_kept=True)]


def test_a_candle_moved_by_hand_drops_both_segments(storage: PostgreSQLStorage, by_hand: psycopg.Connection) -> None:
    by_hand.execute("UPDATE chandlery.candle_30m SET open_time = '2024-12-05T00:01Z' WHERE open_time = '2024-11-05Z'")
    by_hand.commit()
    assert sealed(storage) == []


def test_truncating_by_hand_drops_the_segments(storage: PostgreSQLStorage, by_hand: psycopg.Connection) -> None:
    by_hand.execute("TRUNCATE chandlery.candle")
    by_hand.commit()
    assert sealed(storage) == []


@pytest.mark.parametrize("isolation", list(IsolationLevel)[-2:], ids=lambda level: level.name.lower())
def test_a_write_by_hand_that_cannot_see_the_segment_fails(
    storage: PostgreSQLStorage, two_months: CandleBatch, isolation: IsolationLevel
) -> None:
    """Its snapshot is older than the segment. It is told to try again, and the segment stays true."""
    seal(storage, before=NOVEMBER.end)
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.isolation_level = isolation
        connection.execute("SELECT count(*) FROM chandlery.sealed")
        seal(storage)
        with pytest.raises(errors.SerializationFailure):
            connection.execute("UPDATE chandlery.candle_30m SET high = high + 1 WHERE open_time = '2024-12-05Z'")
        connection.rollback()
        connection.execute("UPDATE chandlery.candle_30m SET high = high + 1 WHERE open_time = '2024-12-05Z'")
        connection.commit()
    assert sealed(storage) == [Sealed(NOVEMBER, rows_kept=True)]


def test_sealing_waits_for_a_write_by_hand_that_is_not_committed_yet(
    storage: PostgreSQLStorage, two_months: CandleBatch, wait_for_lock: Callable[[], None]
) -> None:
    seal(storage, before=NOVEMBER.end)  # from now on the triggers stand on the year's partition
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute("UPDATE chandlery.candle_30m SET high = 1e6 WHERE open_time = '2024-12-05Z'")
        sealing = threading.Thread(target=seal, args=[storage])
        sealing.start()
        wait_for_lock()
        connection.commit()
        sealing.join()
    unchanged = rows(storage)
    assert unchanged.high.max() == 1e6
    with_segments = seal(storage, drop_rows=True)
    assert with_segments.rows_dropped == SEALED
    unseal(storage)
    assert identical(rows(storage), unchanged)


@pytest.fixture
def wait_for_lock(storage: PostgreSQLStorage) -> Callable[[], None]:
    """Returns as soon as somebody waits for a lock in this database."""

    def wait() -> None:
        statement = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with psycopg.connect(storage.database.conninfo, autocommit=True) as connection:
            for _ in range(100_000):
                (waiting,) = connection.execute(statement).fetchone() or (0,)
                if waiting:
                    return
        raise AssertionError("nobody waits")

    return wait


def test_rows_that_were_dropped_come_back_equal(storage: PostgreSQLStorage, two_months: CandleBatch) -> None:
    assert seal(storage, drop_rows=True).rows_dropped == SEALED
    assert identical(rows(storage), two_months.take(slice(SEALED, None))), "the newest candle stays a row"
    size = "SELECT pg_total_relation_size('chandlery.candle_30m_2024')"
    (left,) = storage.database.transact(lambda c: c.execute(size).fetchone()) or (0,)
    assert left < 50_000, "the space is free"
    assert unseal(storage, NOVEMBER).candles == 30 * 48
    assert identical(rows(storage).take(slice(0, -1)), two_months.take(slice(0, 30 * 48)))
    assert sealed(storage) == [Sealed(DECEMBER, rows_kept=False)]


def test_a_write_of_ours_to_a_month_without_rows_loses_none_of_the_others(
    storage: PostgreSQLStorage, two_months: CandleBatch
) -> None:
    seal(storage, drop_rows=True)
    assert save(storage, two_months) == SaveResult(unchanged=len(two_months))
    assert len(rows(storage)) == 1, "nothing new: nothing to bring back"
    later = changed(two_months, slice(7, 8))
    assert save(storage, later.take(slice(0, 20))) == SaveResult(unchanged=19, revised=1)
    assert identical(rows(storage).take(slice(0, -1)), later.take(slice(0, 30 * 48)))
    assert sealed(storage) == [Sealed(DECEMBER, rows_kept=False)]


def test_many_series_written_together_lose_nothing_of_months_without_rows(
    storage: PostgreSQLStorage, two_months: CandleBatch
) -> None:
    seal(storage, drop_rows=True)
    other = candles(series("ETH-USDT", "30m"), 2, start=FIRST)
    deliveries = [
        Delivery(batch=b, covered=b.runs()) for b in (changed(two_months, slice(0, 1)).take(slice(0, 2)), other)
    ]
    assert storage.writer.write(deliveries) == SaveResult(inserted=2, unchanged=1, revised=1)
    assert len(rows(storage)) == 30 * 48 + 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO chandlery.candle SELECT '2024-11-05Z', 2, 2, 2, 2, 2, 2, id, '30m' FROM chandlery.instrument",
        "TRUNCATE chandlery.candle",
    ],
    ids=["insert", "truncate"],
)
def test_a_write_by_hand_to_a_month_without_rows_is_refused_with_the_next_step(
    storage: PostgreSQLStorage, two_months: CandleBatch, statement: LiteralString
) -> None:
    seal(storage, drop_rows=True)
    with psycopg.connect(storage.database.conninfo) as connection:
        with pytest.raises(errors.ObjectNotInPrerequisiteState) as caught:
            connection.execute(statement)
        assert "chandlery unseal" in str(caught.value.diag.message_hint)
    assert len(sealed(storage)) == 2


def test_a_partition_dropped_by_hand_leaves_its_sealed_months_readable(
    storage: PostgreSQLStorage, by_hand: psycopg.Connection, two_months: CandleBatch
) -> None:
    """When the partition is made anew, what is sealed counts as sealed without rows, and a write loses nothing."""
    by_hand.execute("DROP TABLE chandlery.candle_30m_2024")
    by_hand.commit()
    with PostgreSQLStorage(storage.database.conninfo) as another:
        later = changed(two_months, slice(7, 8))
        save(another, later.take(slice(0, 20)))
        assert sealed(another) == [Sealed(DECEMBER, rows_kept=False)]
        unseal(another)
        assert identical(rows(another), later)


def test_we_see_what_others_committed_whatever_the_server_s_default_is(storage: PostgreSQLStorage) -> None:
    strict = make_conninfo(storage.database.conninfo, options="-c default_transaction_isolation=serializable")
    with PostgreSQLStorage(strict) as another:
        level = another.database.transact(lambda c: c.execute("SHOW transaction_isolation").fetchone())
    assert level == ("read committed",)


def spoil(storage: PostgreSQLStorage) -> None:
    """Flip a bit in the middle of every segment."""
    storage.database.transact(
        lambda c: c.execute("UPDATE chandlery.sealed SET data = set_bit(data, 8000, 1 - get_bit(data, 8000))")
    )


def test_a_damaged_segment_is_dropped_where_its_rows_are(storage: PostgreSQLStorage, two_months: CandleBatch) -> None:
    seal(storage)
    spoil(storage)
    sealer = Sealer(storage)
    [entry] = sealer.entries()
    with pytest.raises(DamagedDataError, match=r"checksum.* chandlery seal BTC-USDT --timeframe 30m --verify"):
        sealer.drop_rows(entry)
    assert [str(unit) for unit in sealer.verify(entry).repaired] == [
        "BTC-USDT 30m 2024-11-01",
        "BTC-USDT 30m 2024-12-01",
    ]
    assert seal(storage).spans == 2
    assert sealer.verify(entry) == SealReport()


def test_a_damaged_segment_without_rows_is_given_up_only_if_asked(
    storage: PostgreSQLStorage, two_months: CandleBatch
) -> None:
    """Then the ledger claims its span no more, so that it is collected again."""
    seal(storage, drop_rows=True)
    spoil(storage)
    sealer = Sealer(storage)
    [entry] = sealer.entries()
    with pytest.raises(DamagedDataError):
        sealer.unseal(entry, EVER)
    with pytest.raises(DamagedDataError):
        save(storage, changed(two_months, slice(7, 8)))
    assert len(sealer.verify(entry).damaged) == 2
    assert len(sealed(storage)) == 2
    assert len(sealer.verify(entry, refetch=True).given_up) == 2
    assert sealed(storage) == []
    assert storage.ledger.covered(HALF_HOURS) == Spans([Span(DECEMBER.end, DECEMBER.end + DAY // 48)])
    save(storage, two_months)
    assert identical(rows(storage), two_months)


def test_what_was_made_of_a_given_up_month_is_made_again(storage: PostgreSQLStorage, two_months: CandleBatch) -> None:
    """The exchange may send other values now, so what the ledger knows of coarser series goes with the month."""
    coarse, november = series(interval="4h"), Spans([NOVEMBER])
    storage.writer.derive(coarse, HALF_HOURS.timeframe, NOVEMBER)
    assert storage.ledger.covered(coarse) == november
    seal(storage, drop_rows=True)
    spoil(storage)
    sealer = Sealer(storage)
    for entry in sealer.entries():
        sealer.verify(entry, refetch=True)
    assert storage.ledger.covered(coarse) == Spans()
    again = changed(two_months, slice(0, len(two_months)), by=5.0)
    save(storage, again)
    storage.writer.derive(coarse, HALF_HOURS.timeframe, NOVEMBER)
    assert identical(rows(storage, coarse), roll_up(again, coarse.timeframe, november)[0])


def test_who_began_to_read_before_a_month_was_sealed_still_finds_its_rows(storage: PostgreSQLStorage) -> None:
    """A truncated table looks empty to whoever looks at the past; so space is given back when he has ended."""
    batch = candles(series(), 45 * 1440, start=FIRST)
    save(storage, batch)
    number = storage.catalog.ensure("okx", "BTC-USDT")
    hurried = DatabaseOptions(lock_timeout_s=0.05, patience_s=0)
    with (
        psycopg.connect(storage.database.conninfo) as reader,
        PostgreSQLStorage(storage.database.conninfo, hurried) as other,
    ):
        reader.isolation_level = IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT FROM chandlery.sealed")
        with contextlib.suppress(DatabaseError):
            seal(other, drop_rows=True)
        assert len(SealedSeries(reader, number, batch.series).rows(NOVEMBER)) == 30 * 1440
        reader.commit()
        other.database.transact(lambda c: give_back_space(c, "candle_1m_2024_11"))
    size = storage.database.transact(
        lambda c: c.execute("SELECT pg_relation_size('chandlery.candle_1m_2024_11')").fetchone()
    )
    assert size == (0,)
    assert identical(storage.reader.candles(batch.series, EVER), batch)
