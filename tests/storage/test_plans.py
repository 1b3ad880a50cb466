"""The main queries touch the partitions that can hold something, by their key, and sort nothing that the key orders."""

from __future__ import annotations

from functools import partial
from typing import LiteralString

import psycopg
import pytest
from psycopg import Connection, sql

from candles import START, candles, series
from chandlery.domain.candle import COLUMNS
from chandlery.domain.span import Span
from chandlery.storage.partitions import Partitions, table_of
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sql import query
from chandlery.storage.writer import Delivery
from processes import REPOSITORY

DAY = 86_400_000
MONTHS = 24
NOTHING = sql.SQL("SELECT 1")
FILL = """
INSERT INTO chandlery.candle
SELECT minute, 1, 1, 1, 1, 0, 0, instrument.id, '1m'
  FROM generate_series(0, 23) AS month
 CROSS JOIN generate_series(timestamptz '2024-01-20Z' + make_interval(days => month * 30),
                            timestamptz '2024-01-20 01:59Z' + make_interval(days => month * 30), '1 minute') AS minute
 CROSS JOIN chandlery.instrument
    ON CONFLICT DO NOTHING
"""


@pytest.fixture
def two_years(storage: PostgreSQLStorage) -> PostgreSQLStorage:
    """Forty series with two hours of candles in every thirty days of two years, and one with all the hours."""
    storage.require_schema()
    ends = [candles(series(f"P{number:02d}-USDT"), 1, start=START + 709 * DAY) for number in range(40)]
    hours = candles(series("P00-USDT", "1h"), MONTHS * 30 * 24)
    storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in (*ends, hours)])
    Partitions(storage.database).ensure(series().timeframe, Span(START, START + MONTHS * 30 * DAY))
    for statement in (FILL, "ANALYZE chandlery.candle"):
        storage.database.transact(partial(Connection.execute, query=statement))
    return storage


def plan_of_read(storage: PostgreSQLStorage, span: Span, first: sql.Composable = NOTHING) -> str:
    statement = query(
        "read_candles",
        columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        table=table_of(series().timeframe),
        instrument_id=sql.Literal(storage.catalog.find("okx", "P00-USDT")),
        timeframe=sql.Literal("1m"),
        start=sql.Literal(to_datetime(span.start)),
        end=sql.Literal(to_datetime(span.end)),
    )
    return explained(storage, statement, first)


def explained(storage: PostgreSQLStorage, statement: sql.Composed, first: sql.Composable) -> str:
    def explain(connection: Connection) -> str:
        connection.execute(sql.Composed([first]))
        return "\n".join(row[0] for row in connection.execute(sql.SQL("EXPLAIN (COSTS OFF) ") + statement))

    return storage.database.transact(explain)


def test_a_read_walks_the_key_of_the_partitions_in_its_span(two_years: PostgreSQLStorage) -> None:
    for months in (1, 6, MONTHS):
        plan = plan_of_read(two_years, Span(START + 15 * DAY, START + ((months - 1) * 30 + 25) * DAY))
        assert plan.count("Index Scan using candle_1m_") == months
        assert not any(word in plan for word in ("Sort", "Seq Scan", "Bitmap")), plan


MARCH_AND_APRIL = Span(START + 60 * DAY, START + 121 * DAY)


def test_the_documented_plans_are_those_of_the_server(two_years: PostgreSQLStorage) -> None:
    """docs/tuning.md shows them; what is compared is the nodes, with the keys and the partitions that they name."""
    documented = (REPOSITORY / "docs" / "tuning.md").read_text()
    for plan in (plan_of_read(two_years, MARCH_AND_APRIL), plan_of_segments(two_years)):
        nodes = [line.split("->")[-1].strip() for line in plan.splitlines() if "->" in line]
        assert nodes
        assert all(node in documented for node in nodes), plan


@pytest.mark.parametrize(
    "setting", ["random_page_cost = 1.1", "random_page_cost = 4", "effective_cache_size = '64MB'", "work_mem = '64MB'"]
)
def test_the_plans_are_the_same_with_other_settings(two_years: PostgreSQLStorage, setting: str) -> None:
    """So doctor --tune leaves these settings alone."""
    before = plan_of_read(two_years, MARCH_AND_APRIL), plan_of_segments(two_years)
    set_it = sql.SQL("SET LOCAL {}").format(sql.SQL(setting))
    assert before == (plan_of_read(two_years, MARCH_AND_APRIL, set_it), plan_of_segments(two_years, set_it))


def plan_of_segments(storage: PostgreSQLStorage, first: sql.Composable = NOTHING) -> str:
    statement = query(
        "segments",
        instruments=sql.Literal([storage.catalog.find("okx", "P00-USDT")]),
        timeframes=sql.Literal(["1m"]),
        start=sql.Literal(to_datetime(MARCH_AND_APRIL.start)),
        end=sql.Literal(to_datetime(MARCH_AND_APRIL.end)),
        data=sql.Identifier("data"),
    )
    return explained(storage, statement, first)


def scanned(storage: PostgreSQLStorage, statement: LiteralString) -> dict[str, tuple[int, int]]:
    """The candle partitions that a statement scans, each with its sequential scans and its look-ups of the key.

    What runs inside a function does not show in its plan; the counters of a new session miss nothing.
    """
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute(statement)
        counted = connection.execute(
            "SELECT relname, seq_scan, idx_scan FROM pg_stat_xact_user_tables"
            " WHERE relname LIKE 'candle%' AND seq_scan + idx_scan > 0"
        ).fetchall()
    return {name: (sequential, by_key) for name, sequential, by_key in counted}


def test_the_newest_candles_are_one_look_up_a_series_in_the_newest_partitions(two_years: PostgreSQLStorage) -> None:
    assert scanned(two_years, "SELECT * FROM chandlery.latest('1m')") == {"candle_1m_2025_12": (0, 40)}


def test_lining_up_reads_the_partitions_of_its_span_by_their_key(two_years: PostgreSQLStorage) -> None:
    found = scanned(two_years, "SELECT * FROM chandlery.aligned('P00-USDT', '1m', '1h', '2024-03-01Z', '2024-05-01Z')")
    assert found.keys() == {"candle_1h_2020", "candle_1m_2024_03", "candle_1m_2024_04"}
    assert all(sequential == 0 for sequential, _ in found.values())
