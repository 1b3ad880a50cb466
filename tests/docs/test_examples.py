"""The SQL in the documentation runs."""

from __future__ import annotations

import psycopg

from candles import candles, series
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from docs.pages import ROOT, blocks


def test_every_example_in_sql_runs_and_finds_something(storage: PostgreSQLStorage) -> None:
    storage.require_schema()
    batches = [candles(series(symbol, bar), 50) for symbol in ("BTC-USDT", "ETH-USDT") for bar in ("1m", "1h")]
    storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])
    statements = [
        text
        for block in blocks(ROOT / "docs" / "sql.md")
        if block.language == "sql"
        for text in block.text.split(";\n")
    ]
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute("SET timezone = 'Asia/Kolkata'")
        connection.execute("CREATE ROLE analyst")  # rolled back, since roles belong to the whole server
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            if cursor.description is not None and statement.strip():
                assert cursor.fetchall(), statement
        connection.rollback()
