"""The ways in: our two doors for users and the import, beside what PostgreSQL and other libraries offer.

All fill the same tables. *Straight COPY* sends a stream that was encoded beforehand into the timeframe's table, one
COPY a series, and does nothing else: no checking, no comparing with what is stored, no ledger. It is the most that this
server takes. *Staging* sends the same stream into a temporary table, and from there with INSERT ... ON CONFLICT into
the real one.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psycopg
from psycopg import errors

from benchmarks.rounds import Timing, Way, timed
from benchmarks.samples import many_series, one_series, records_of
from benchmarks.writing_others import STRAIGHT_ONE, other_ways
from chandlery.domain.candle import CandleBatch
from chandlery.services.bulk_import.given import Told, find_sources
from chandlery.services.bulk_import.run import Manner, import_sources
from chandlery.storage.copy_binary import candle_stream
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.csv_format import HEADER, encode
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.partitions import table_of
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sources.archives import Source
from chandlery.storage.sql import query

STRAIGHT_MANY = "straight COPY, ten series"

_BLOCK_BYTES = 1 << 20
_DIGEST = """
SELECT instrument.symbol, count(*), sum(hash_record_extended((
           open_time, open, high, low, close, base_volume, quote_volume, timeframe), 0))
  FROM chandlery.candle_1m JOIN chandlery.instrument ON instrument.id = instrument_id
 GROUP BY instrument.symbol ORDER BY instrument.symbol
"""

Streams = Sequence[tuple[CandleBatch, bytes]]


class DifferentTables(Exception):
    """Two ways were given the same candles and left different ones; then their times mean nothing."""


def write_timings(storage: PostgreSQLStorage, conninfo: str, *, rows: int, rounds: int) -> list[Timing]:
    """Time all ways in, after one round that shows that they leave equal tables and makes the partitions."""
    with psycopg.connect(conninfo, autocommit=True) as connection, tempfile.TemporaryDirectory() as folder:
        clear = partial(_clear, connection)
        ways = [
            *_one_series(storage, connection, clear, one_series(rows), Path(folder)),
            *other_ways(storage, conninfo, clear, rows),
            *_many_series(storage, connection, clear, rows),
        ]
        check_equal(ways, connection)
        timings = timed(ways, rounds=rounds)
        clear()
        return timings


def _one_series(
    storage: PostgreSQLStorage,
    connection: psycopg.Connection,
    clear: Callable[[], None],
    batch: CandleBatch,
    folder: Path,
) -> list[Way]:
    frame = candles_frame(batch)
    encoded = _encoded(storage, [batch])
    sources = [_csv_file(folder, batch)]
    way = partial(Way, rows=len(batch), against=STRAIGHT_ONE)

    def save() -> None:
        storage.save_ohlcv_data(frame, batch.series.symbol, batch.series.timeframe.name)

    def import_file() -> None:
        import_sources(storage, sources, Told(), Manner())

    def save_once() -> None:
        clear()
        save()

    return [
        way(name="save_ohlcv_data, one series", run=save, prepare=clear, ours=True),
        way(name=STRAIGHT_ONE, run=lambda: _copy(connection, encoded), prepare=clear),
        way(name="staging, one series", run=lambda: _stage(connection, encoded), prepare=clear),
        way(name="import of a CSV file", run=import_file, prepare=clear, ours=True),
        way(name="the same save again", run=save, prepare=save_once, ours=True),
    ]


def _many_series(
    storage: PostgreSQLStorage, connection: psycopg.Connection, clear: Callable[[], None], rows: int
) -> list[Way]:
    batches = many_series(rows)
    records, encoded = records_of(batches), _encoded(storage, batches)
    way = partial(Way, rows=rows, against=STRAIGHT_MANY, prepare=clear)
    return [
        way(name="bulk_insert, ten series", run=lambda: storage.bulk_insert(records), ours=True),
        way(name=STRAIGHT_MANY, run=lambda: _copy(connection, encoded)),
    ]


def _csv_file(folder: Path, batch: CandleBatch) -> Source:
    file = CsvStore(folder).path(batch.series)
    file.write_bytes(HEADER + encode(batch))
    [source] = find_sources([str(file)])
    return source


def _encoded(storage: PostgreSQLStorage, batches: Sequence[CandleBatch]) -> Streams:
    numbers = [storage.catalog.ensure(batch.series.exchange, batch.series.symbol) for batch in batches]
    return [(batch, b"".join(candle_stream(batch, number))) for batch, number in zip(batches, numbers, strict=True)]


def _copy(connection: psycopg.Connection, streams: Streams) -> None:
    with connection.transaction():
        for batch, stream in streams:
            _send(connection, query("insert_candles", table=table_of(batch.series.timeframe)), stream)


def _stage(connection: psycopg.Connection, streams: Streams) -> None:
    with connection.transaction():
        for batch, stream in streams:
            connection.execute(query("make_staging"))
            _send(connection, query("insert_candles", table=_STAGING), stream)
            connection.execute(query("insert_staged", table=table_of(batch.series.timeframe)))


def _send(connection: psycopg.Connection, statement: psycopg.sql.Composed, stream: bytes) -> None:
    view = memoryview(stream)
    with connection.cursor().copy(statement) as copy:
        for start in range(0, len(view), _BLOCK_BYTES):
            copy.write(view[start : start + _BLOCK_BYTES])


_STAGING = psycopg.sql.Identifier("pg_temp", "candle_staging")


def _clear(connection: psycopg.Connection) -> None:
    """Empty partitions, and nothing left over that the server would do in the next way's time."""
    connection.execute("TRUNCATE chandlery.candle, chandlery.coverage, chandlery.revision")
    with contextlib.suppress(errors.InsufficientPrivilege):
        connection.execute("CHECKPOINT")


def check_equal(ways: Sequence[Way], connection: psycopg.Connection) -> None:
    """Run every way once; raises DifferentTables if those compared with the same one do not store the same.

    Ways that are given fewer candles are compared with one another.
    """
    left: dict[tuple[str, int], tuple[str, object]] = {}
    for way in ways:
        way.prepare()
        way.run()
        digest = connection.execute(_DIGEST).fetchall()
        other, expected = left.setdefault((way.against, way.rows), (way.name, digest))
        if digest != expected:
            raise DifferentTables(f"{way.name} and {other} left different tables.")
