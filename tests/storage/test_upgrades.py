"""Every released schema goes forward with its data: rows, ledger, reading and writing, whichever step it was at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import psycopg
import pytest

from candles import START, candles, series
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.span import Span, Spans
from chandlery.errors import SchemaError
from chandlery.storage.database import Database
from chandlery.storage.delivery import Delivery, SaveResult
from chandlery.storage.migrations import head
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.schema import apply_schema, schema_status, upgrade_to

REVISIONS = [f"{number:04d}" for number in range(1, int(head()) + 1)]
RELEASED = "0001"
EVER = Span(0, 4_102_444_800_000)


def fill_as_the_first_release(url: str, batch: CandleBatch) -> None:
    """What the program of revision 0001 wrote, in plain SQL: it knew nothing of what came later."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO chandlery.instrument (exchange, symbol, kind, base, quote, settle, tick_size, lot_size, state)"
            " VALUES ('okx', 'BTC-USDT', 'spot', 'BTC', 'USDT', '', '0.1', '0.00000001', 'live')"
        )
        connection.execute(
            "CREATE TABLE chandlery.candle_1m_2024_01"
            " (LIKE chandlery.candle_1m INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        )
        connection.execute(
            "ALTER TABLE chandlery.candle_1m ATTACH PARTITION chandlery.candle_1m_2024_01"
            " FOR VALUES FROM ('2024-01-01Z') TO ('2024-02-01Z')"
        )
        names = ("open_time", "open", "high", "low", "close", "base_volume", "quote_volume")
        columns = batch.columns()
        rows = zip(*(columns[name].tolist() for name in names), strict=True)
        connection.cursor().executemany(
            "INSERT INTO chandlery.candle VALUES (to_timestamp(%s / 1000.0), %s, %s, %s, %s, %s, %s, 1, '1m')",
            list(rows),
        )
        connection.execute(
            "INSERT INTO chandlery.coverage (instrument_id, timeframe, spans, begins_at) VALUES"
            " (1, '1m', tstzmultirange(tstzrange('2024-01-01Z', '2024-01-01 10:00Z')), '2024-01-01Z')"
        )
        connection.execute(
            "INSERT INTO chandlery.revision SELECT open_time, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1, '1m'"
            " FROM chandlery.candle LIMIT 1"
        )
        connection.execute(
            "INSERT INTO chandlery.rejected (exchange, symbol, timeframe, reason, raw) VALUES"
            " ('okx', 'BTC-USDT', '1m', 'high is below low', '[]')"
        )
        connection.execute("INSERT INTO chandlery.run (command, outcome) VALUES ('collect', 'complete')")


def kept(url: str) -> dict[str, int]:
    tables = ("instrument", "candle", "coverage", "revision", "rejected", "run")
    with psycopg.connect(url) as connection:
        return {t: connection.execute(f"SELECT count(*) FROM chandlery.{t}").fetchone()[0] for t in tables}  # type: ignore[index]


@pytest.mark.parametrize("step", REVISIONS)
def test_data_of_the_first_release_is_kept_read_and_added_to(new_database: Callable[..., str], step: str) -> None:
    """At once, and by way of each version between: the database stayed there for a while."""
    url, batch = new_database(empty=True), candles(series(), 600)
    with closing(Database(url)) as database:
        upgrade_to(database, RELEASED)
        fill_as_the_first_release(url, batch)
        before = kept(url)
        upgrade_to(database, step)
        assert schema_status(database).applied == step
        assert not apply_schema(database).pending
    assert kept(url) == before == {"candle": 600} | dict.fromkeys(before.keys() - {"candle"}, 1)
    with PostgreSQLStorage(url) as storage:
        stored = storage.reader.candles(series(), EVER)
        assert np.array_equal(stored.open_time, batch.open_time)
        assert same_values(stored, batch).all()
        assert storage.ledger.covered(series()) == Spans([Span(START, START + 600 * 60_000)])
        assert len(storage.get_latest_candles(interval="1m")) == 1
        more = candles(series(), 60_000)  # into the partition of then and into a new one
        again = CandleBatch.joined(series(), [batch, more.take(slice(600, None))])
        result = storage.writer.write([Delivery(batch=again, covered=again.runs())])
        assert result == SaveResult(inserted=59_400, unchanged=600)


@pytest.mark.parametrize("revision", [f"{int(head()) + 1:04d}", "9999"])
def test_an_older_program_leaves_a_newer_schema_alone_and_says_why(
    new_database: Callable[..., str], revision: str
) -> None:
    """Reading, writing and upgrading are refused before anything is looked at or changed."""
    url = new_database()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE chandlery.schema_version SET version_num = %s", [revision])
    with PostgreSQLStorage(url) as storage:
        attempts = (
            lambda: storage.get_latest_candles(interval="1m"),
            lambda: storage.save_records([]),
            lambda: apply_schema(storage.database),
        )
        for attempt in attempts:
            with pytest.raises(SchemaError, match=rf"schema {revision}.*Install the newer chandlery"):
                attempt()
