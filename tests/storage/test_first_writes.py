"""A timeframe and an instrument that were never seen before need no preparation, whoever else writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from candles import candles, series
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.span import Span
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.storage.delivery import Delivery, SaveResult
from chandlery.storage.postgres import PostgreSQLStorage

EVER = Span(0, 4_102_444_800_000)
SYMBOLS = [f"NEW{number}-USDT" for number in range(4)]
WRITERS = 12


def write(storage: PostgreSQLStorage, *batches: CandleBatch) -> SaveResult:
    return storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])


def partitions(storage: PostgreSQLStorage) -> list[str]:
    """The partitions that hold candles, whatever their timeframe."""
    statement = (
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relname LIKE 'candle%' AND relispartition"
    )
    return [name for (name,) in storage.database.transact(lambda c: c.execute(statement).fetchall())]


@pytest.fixture
def impatient(database_url: str) -> Iterator[list[PostgreSQLStorage]]:
    """As many doors as writers, each with a pool and memory of its own; none of them tries anything twice."""
    with ExitStack() as stack:
        options = {"patience_s": 0.0, "pool_size": 1}
        yield [stack.enter_context(PostgreSQLStorage(database_url, options)) for _ in range(WRITERS)]


@pytest.mark.parametrize("interval", TIMEFRAMES)
def test_a_timeframe_works_on_its_first_write_and_after_its_partitions_are_gone(
    storage: PostgreSQLStorage, interval: str
) -> None:
    batch = candles(series(interval=interval), 50)
    assert not partitions(storage)
    for _ in range(2):
        assert write(storage, batch) == SaveResult(inserted=50)
        assert write(storage, batch) == SaveResult(unchanged=50)
        for name in partitions(storage):
            storage.database.transact(lambda c, name=name: c.execute(f"DROP TABLE {name}"))  # type: ignore[misc]


def test_many_writers_of_new_instruments_in_new_timeframes_store_everything_once(
    impatient: list[PostgreSQLStorage], storage: PostgreSQLStorage
) -> None:
    """All writers write all series, in different orders, alone and many at once; no error, and none is retried."""
    batches = [candles(series(symbol, interval), 30) for symbol in SYMBOLS for interval in TIMEFRAMES]
    start = threading.Barrier(WRITERS)

    def write_all(number: int) -> int:
        mine = batches[number * 5 % len(batches) :] + batches[: number * 5 % len(batches)]
        mine = mine[::-1] if number % 2 else mine
        size = (1, 3, 13)[number % 3]
        start.wait()
        return sum(
            write(impatient[number], *mine[first : first + size]).inserted for first in range(0, len(mine), size)
        )

    with ThreadPoolExecutor(WRITERS) as threads:
        inserted = list(threads.map(write_all, range(WRITERS)))

    assert sum(inserted) == 30 * len(batches)
    for batch in batches:
        stored = storage.reader.candles(batch.series, EVER)
        assert stored.open_time.tolist() == batch.open_time.tolist()
        assert same_values(stored, batch).all()
        assert storage.ledger.covered(batch.series) == batch.runs()
