"""The ways out that other libraries offer: from the same rows, and from a file beside the server as the outer limit.

Each gives a pandas frame of ``open_time`` and the six values, series after series. Ways that make a Python object of
every value are given a tenth of the candles and compared by the candle.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import sqlalchemy

from benchmarks.links import Link, installed
from benchmarks.rounds import Way
from chandlery.domain.candle import COLUMNS
from chandlery.domain.span import Span
from chandlery.storage.pgtime import to_datetime

ADBC = "ADBC"


def server_ways(
    open_ones: contextlib.ExitStack, conninfo: str, numbers: Sequence[int], span: Span, rows: int
) -> list[Way]:
    """From the rows of the instruments ``numbers``, by libraries that keep a connection as ours does."""
    link = Link.to(conninfo)
    statement = _statement(numbers, span)
    tenth, fewer = _statement(numbers[: max(1, len(numbers) // 10)], span), rows // 10
    ways = [Way(name=ADBC, run=_by_adbc(open_ones, link, statement), rows=rows, against=ADBC, warm=True)]
    if installed("connectorx"):
        ways.append(
            Way(name="ConnectorX", run=partial(_by_connectorx, link, statement), rows=rows, against=ADBC, warm=True)
        )
    if installed("asyncpg"):
        ways.append(Way(name="asyncpg", run=_by_asyncpg(open_ones, link, tenth), rows=fewer, against=ADBC, warm=True))
    connection = open_ones.enter_context(psycopg.connect(conninfo, autocommit=True))
    engine = link.engine()
    open_ones.callback(engine.dispose)
    return [
        *ways,
        Way(name="psycopg", run=partial(_by_psycopg, connection, tenth), rows=fewer, against=ADBC, warm=True),
        Way(name="pandas.read_sql", run=partial(_by_pandas, engine, tenth), rows=fewer, against=ADBC, warm=True),
    ]


def file_ways(table: pa.Table, folder: Path, rows: int) -> list[Way]:
    """From one Parquet file of the same candles as its library writes it by default: no server, no checks."""
    file = folder / "candles.parquet"
    pa_parquet.write_table(table, file)
    ways = [Way(name="Parquet file, pyarrow", run=partial(_by_pyarrow, file), rows=rows, against=ADBC, warm=True)]
    if installed("duckdb"):
        ways.append(Way(name="Parquet file, DuckDB", run=partial(_by_duckdb, file), rows=rows, against=ADBC, warm=True))
    return ways


def _statement(numbers: Sequence[int], span: Span) -> str:
    return (
        f"SELECT {', '.join(COLUMNS)} FROM chandlery.candle_1m"
        f" WHERE instrument_id IN ({', '.join(map(str, numbers))}) AND timeframe = '1m'"
        f" AND open_time >= '{to_datetime(span.start)}' AND open_time < '{to_datetime(span.end)}'"
        " ORDER BY instrument_id, open_time"
    )


def _by_adbc(open_ones: contextlib.ExitStack, link: Link, statement: str) -> Any:
    connection = open_ones.enter_context(adbc.connect(link.conninfo, autocommit=True))

    def read() -> pd.DataFrame:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            frame: pd.DataFrame = cursor.fetch_arrow_table().to_pandas(split_blocks=True, self_destruct=True)
            return frame

    return read


def _by_connectorx(link: Link, statement: str) -> pd.DataFrame:
    import connectorx

    frame: pd.DataFrame = connectorx.read_sql(link.url, statement, protocol="binary")
    return frame


def _by_asyncpg(open_ones: contextlib.ExitStack, link: Link, statement: str) -> Any:
    runner = open_ones.enter_context(asyncio.Runner())
    connection = runner.run(link.asyncpg())
    open_ones.callback(lambda: runner.run(connection.close()))

    def read() -> pd.DataFrame:
        return pd.DataFrame(runner.run(connection.fetch(statement)), columns=list(COLUMNS))

    return read


def _by_psycopg(connection: psycopg.Connection, statement: Any) -> pd.DataFrame:
    with connection.cursor(binary=True) as cursor:
        return pd.DataFrame(cursor.execute(statement).fetchall(), columns=list(COLUMNS))


def _by_pandas(engine: sqlalchemy.Engine, statement: str) -> pd.DataFrame:
    with engine.connect() as connection:
        return pd.read_sql(sqlalchemy.text(statement), connection)


def _by_pyarrow(file: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pa_parquet.read_table(file).to_pandas(split_blocks=True, self_destruct=True)
    return frame


def _by_duckdb(file: Path) -> pd.DataFrame:
    import duckdb

    with duckdb.connect() as connection:
        frame: pd.DataFrame = connection.read_parquet(str(file)).df()
        return frame
