"""The ways out: ``get_ohlcv_data`` beside what people write themselves, ``pandas.read_sql`` of the same query."""

from __future__ import annotations

import pandas as pd
import psycopg
import sqlalchemy
from psycopg import sql

from benchmarks.rounds import Timing, Way, timed
from benchmarks.samples import one_series
from chandlery.domain.candle import COLUMNS, CandleBatch
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sql import query

READ_SQL = "pandas.read_sql"


def read_timings(storage: PostgreSQLStorage, conninfo: str, *, rows: int, rounds: int) -> list[Timing]:
    """Store candles of one series and time both ways of getting a frame of all of them."""
    batch = one_series(rows)
    symbol, interval = batch.series.symbol, batch.series.timeframe.name
    storage.save_ohlcv_data(candles_frame(batch), symbol, interval)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo))
    statement = sqlalchemy.text(_same_query(storage, batch))

    def read_sql() -> pd.DataFrame:
        with engine.connect() as connection:
            return pd.read_sql(statement, connection)

    def get_ohlcv_data() -> pd.DataFrame:
        return storage.get_ohlcv_data(symbol, interval)

    try:
        assert len(read_sql()) == len(get_ohlcv_data()) == rows
        return timed(
            [
                Way(name="get_ohlcv_data", run=get_ohlcv_data, against=READ_SQL),
                Way(name=READ_SQL, run=read_sql, against=READ_SQL),
            ],
            rows=rows,
            rounds=rounds,
        )
    finally:
        engine.dispose()


def _same_query(storage: PostgreSQLStorage, batch: CandleBatch) -> str:
    assert batch.span is not None
    return query(
        "read_candles",
        columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        table=table_of(batch.series.timeframe),
        instrument_id=sql.Literal(storage.catalog.ensure(batch.series.exchange, batch.series.symbol)),
        timeframe=sql.Literal(batch.series.timeframe.name),
        start=sql.Literal(to_datetime(batch.span.start)),
        end=sql.Literal(to_datetime(batch.span.end)),
    ).as_string()
