"""The ways in: the two doors for users beside what PostgreSQL itself can take, into the same tables.

*Straight COPY* sends a stream that was encoded beforehand into the timeframe's table, one COPY a series, and does
nothing else: no checking, no comparing with what is stored, no ledger. It is the most that this server takes.
*Staging* sends the same stream into a temporary table, and from there with INSERT ... ON CONFLICT into the real one.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import errors

from benchmarks.rounds import Timing, Way, timed
from benchmarks.samples import many_series, one_series, records_of
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

STRAIGHT_ONE = "straight COPY, one series"
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
        ways = _ways(storage, connection, rows, Path(folder))
        check_equal(ways, connection)
        timings = timed(ways, rows=rows, rounds=rounds)
        _clear(connection)
        return timings


def _ways(storage: PostgreSQLStorage, connection: psycopg.Connection, rows: int, folder: Path) -> list[Way]:
    one, many = one_series(rows), many_series(rows)
    frame, records = candles_frame(one), records_of(many)
    one_encoded, many_encoded = _encoded(storage, [one]), _encoded(storage, many)

    def clear() -> None:
        _clear(connection)

    def save() -> None:
        storage.save_ohlcv_data(frame, one.series.symbol, one.series.timeframe.name)

    sources = [_csv_file(folder, one)]

    def import_file() -> None:
        import_sources(storage, sources, Told(), Manner())

    def save_once() -> None:
        clear()
        save()

    return [
        Way(name="save_ohlcv_data, one series", run=save, prepare=clear, against=STRAIGHT_ONE),
        Way(name=STRAIGHT_ONE, run=lambda: _copy(connection, one_encoded), prepare=clear, against=STRAIGHT_ONE),
        Way(
            name="staging, one series", run=lambda: _stage(connection, one_encoded), prepare=clear, against=STRAIGHT_ONE
        ),
        Way(name="import of a CSV file", run=import_file, prepare=clear, against=STRAIGHT_ONE),
        Way(name="the same save again", run=save, prepare=save_once, against=STRAIGHT_ONE),
        Way(
            name="bulk_insert, ten series",
            run=lambda: storage.bulk_insert(records),
            prepare=clear,
            against=STRAIGHT_MANY,
        ),
        Way(name=STRAIGHT_MANY, run=lambda: _copy(connection, many_encoded), prepare=clear, against=STRAIGHT_MANY),
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
    """Run every way once; raises DifferentTables if those compared with the same one do not store the same."""
    left: dict[str, tuple[str, object]] = {}
    for way in ways:
        way.prepare()
        way.run()
        digest = connection.execute(_DIGEST).fetchall()
        other, expected = left.setdefault(way.against, (way.name, digest))
        if digest != expected:
            raise DifferentTables(f"{way.name} and {other} left different tables.")
