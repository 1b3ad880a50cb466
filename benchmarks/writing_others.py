"""The ways in that other libraries offer, from a pandas frame into the timeframe's table; no way but ours checks.

Row by row they are slow, so they are given a tenth of the candles and compared by the candle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pandas as pd
import psycopg
import pyarrow as pa

from benchmarks.links import Link, installed
from benchmarks.rounds import Way
from benchmarks.samples import one_series
from chandlery.domain.candle import COLUMNS
from chandlery.storage.postgres import PostgreSQLStorage

STRAIGHT_ONE = "straight COPY, one series"

_TABLE = "candle_1m"
_SCHEMA = "chandlery"


def other_ways(storage: PostgreSQLStorage, conninfo: str, clear: Callable[[], None], rows: int) -> list[Way]:
    """ADBC with all candles, asyncpg, psycopg and pandas with a tenth of them."""
    link = Link.to(conninfo)
    whole = _table_frame(storage, rows)
    tenth = whole.head(rows // 10)
    way = partial(Way, against=STRAIGHT_ONE, prepare=clear)
    ways = [
        way(name="ADBC ingest", run=lambda: _adbc_ingest(link, whole), rows=rows),
        way(name="asyncpg copy_records", run=lambda: asyncio.run(_copy_records(link, tenth)), rows=len(tenth)),
        way(name="psycopg executemany", run=lambda: _executemany(link, tenth), rows=len(tenth)),
        way(name="pandas.to_sql", run=lambda: _to_sql(link, tenth), rows=len(tenth)),
    ]
    return [one for one in ways if not one.name.startswith("asyncpg") or installed("asyncpg")]


def _table_frame(storage: PostgreSQLStorage, rows: int) -> pd.DataFrame:
    """Candles as the table has them."""
    batch = one_series(rows)
    frame = pd.DataFrame(batch.columns())
    frame["open_time"] = pd.to_datetime(frame["open_time"], unit="ms", utc=True).dt.as_unit("us")
    number = storage.catalog.ensure(batch.series.exchange, batch.series.symbol)
    return frame.assign(instrument_id=pd.Series(number, frame.index, dtype="int32"), timeframe="1m")


def _adbc_ingest(link: Link, frame: pd.DataFrame) -> None:
    with adbc.connect(link.conninfo) as connection, connection.cursor() as cursor:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        cursor.adbc_ingest(_TABLE, table, mode="append", db_schema_name=_SCHEMA)
        connection.commit()


async def _copy_records(link: Link, frame: pd.DataFrame) -> None:
    connection = await link.asyncpg()
    try:
        await connection.copy_records_to_table(
            _TABLE, schema_name=_SCHEMA, columns=list(frame.columns), records=frame.itertuples(index=False, name=None)
        )
    finally:
        await connection.close()


def _executemany(link: Link, frame: pd.DataFrame) -> None:
    values = ", ".join(["%s"] * (len(COLUMNS) + 2))
    statement: Any = f"INSERT INTO {_SCHEMA}.{_TABLE} ({', '.join(frame.columns)}) VALUES ({values})"
    with psycopg.connect(link.conninfo) as connection:
        connection.cursor().executemany(statement, list(frame.itertuples(index=False, name=None)))


def _to_sql(link: Link, frame: pd.DataFrame) -> None:
    engine = link.engine()
    with engine.begin() as connection:
        frame.to_sql(_TABLE, connection, schema=_SCHEMA, if_exists="append", index=False)
    engine.dispose()
