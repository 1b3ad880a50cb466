"""Who listens hears of each stored batch once, when it is committed, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

import chandlery
from candles import candles, changed, series
from chandlery.domain.candle import CandleBatch
from chandlery.errors import ConnectionError, DatabaseError
from chandlery.storage.announcements import Announcement
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery


@pytest.fixture
def telling(database_url: str) -> Iterator[PostgreSQLStorage]:
    with PostgreSQLStorage(database_url, notify=True) as storage:
        yield storage


def write(storage: PostgreSQLStorage, *batches: CandleBatch) -> None:
    storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])


def told_of(batch: CandleBatch, *, inserted: int = 0, revised: int = 0) -> Announcement:
    assert batch.span is not None
    return Announcement(
        exchange="okx",
        symbol=batch.series.symbol,
        timeframe=batch.series.timeframe.name,
        start=batch.span.start,
        end=batch.span.end,
        inserted=inserted,
        revised=revised,
    )


def test_each_batch_that_changes_something_is_told_once_and_in_order(telling: PostgreSQLStorage) -> None:
    heard = chandlery.listen(telling.database.conninfo)
    first, page = candles(series(), 5), candles(series("ETH-USDT", "1h"), 40)
    write(telling, first)
    write(telling, first)  # nothing new, nothing told
    write(telling, changed(first, slice(1, 3)), page)
    write(telling, candles(series("SOL-USDT"), 1))
    assert next(heard) == told_of(first, inserted=5)
    both = sorted((next(heard), next(heard)), key=lambda one: one.symbol)
    assert both == [told_of(first, revised=2), told_of(page, inserted=40)]
    assert next(heard).symbol == "SOL-USDT"


def test_a_minute_of_many_series_is_told_series_by_series(telling: PostgreSQLStorage) -> None:
    """A few candles of many series are stored together; each is told all the same."""
    heard = chandlery.listen(telling.database.conninfo)
    batches = [candles(series(f"S{number:02d}-USDT"), 1) for number in range(30)]
    write(telling, batches[0])
    write(telling, *batches)
    assert next(heard) == told_of(batches[0], inserted=1)
    assert {next(heard).symbol for _ in batches[1:]} == {batch.series.symbol for batch in batches[1:]}
    write(telling, candles(series("END-USDT"), 1))
    assert next(heard).symbol == "END-USDT"


def test_what_is_undone_is_told_to_nobody(telling: PostgreSQLStorage) -> None:
    heard = chandlery.listen(telling.database.conninfo)
    with psycopg.connect(telling.database.conninfo, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$"
        )
        connection.execute(  # at the end, when the notification has been sent already
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON chandlery.coverage DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        with pytest.raises(DatabaseError, match="not now"):
            write(telling, candles(series(), 3))
        connection.execute("DROP TRIGGER refuse ON chandlery.coverage")
    write(telling, candles(series("ETH-USDT"), 1))
    assert next(heard).symbol == "ETH-USDT"


def test_nothing_is_told_unless_it_is_asked_for(storage: PostgreSQLStorage) -> None:
    heard = chandlery.listen(storage.database.conninfo)
    write(storage, candles(series(), 3))
    storage.writer.notify = True
    write(storage, candles(series("ETH-USDT"), 1))
    assert next(heard).symbol == "ETH-USDT"


def test_a_listener_that_loses_its_server_is_told_so(storage: PostgreSQLStorage) -> None:
    heard = chandlery.listen(storage.database.conninfo)
    storage.database.transact(
        lambda connection: connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
    )
    with pytest.raises(ConnectionError):
        next(heard)


def test_what_is_no_announcement_is_passed_over(telling: PostgreSQLStorage) -> None:
    """Whoever may connect may notify: nonsense neither ends who listens nor reaches him."""
    heard = chandlery.listen(telling.database.conninfo)
    with psycopg.connect(telling.database.conninfo) as connection:
        for nonsense in ("", "{", "null", "[1]", '{"exchange": "okx"}', '{"start": "now"}', "[" * 5_000):
            connection.execute("SELECT pg_notify('chandlery_candles', %s)", [nonsense])
    batch = candles(series(), 2)
    write(telling, batch)
    assert next(heard) == told_of(batch, inserted=2)
