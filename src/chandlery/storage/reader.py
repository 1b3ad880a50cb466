"""Reading candles: all that is stored of a series in a span, in order, as Arrow; never filled, rounded or cut."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from chandlery.domain.candle import COLUMNS, CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.errors import ConnectionError, DatabaseError
from chandlery.redaction import redact
from chandlery.storage.candle_table import CandleTable
from chandlery.storage.catalog import Catalog
from chandlery.storage.database import Database
from chandlery.storage.deadline import attended
from chandlery.storage.failures import CONNECTION_LOST, FailureClass, classify_state
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_datetime, to_ms
from chandlery.storage.sql import query

if TYPE_CHECKING:
    import pyarrow as pa


class Reader:
    """Reads through an Arrow connection of its own, which is kept between calls and made anew when it broke."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog
        self._connection: Any = None
        self._lock = threading.Lock()

    def candles(self, series: Series, span: Span) -> CandleBatch:
        """The stored candles that open in ``span``."""
        return self.read([series], span).batch(0)

    def read(self, wanted: Sequence[Series], span: Span, columns: Sequence[str] = COLUMNS) -> CandleTable:
        """The stored candles of all series ``wanted`` (at least one) that open in ``span``; ``columns`` of COLUMNS."""
        return CandleTable.joined(wanted, [self._rows(series, span, columns) for series in wanted])

    def closed_by(self, series: Series, span: Span | None) -> CandleBatch:
        """The stored candles that were the last closed one at some time in ``span``: also the one before it."""
        if span is None:
            return CandleBatch.empty(series)
        before = series.timeframe.shift(span.start, -1)
        candles = self.candles(series, Span(before, span.end))
        if len(candles) and candles.open_time[0] == before:
            return candles
        # that one is missing, so the last closed one may be any number of bars ago
        earlier = self.candles(series, Span(min(0, before - 1), before))
        return CandleBatch.joined(series, [earlier.take(slice(-1, None)), candles])

    def _rows(self, series: Series, span: Span, columns: Sequence[str]) -> pa.Table:
        # a statement a series costs less than one for all: its plan is exact, and nothing has to be sorted
        instrument_id = self._catalog.find(series.exchange, series.symbol)
        statement = query(
            "read_candles",
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            table=table_of(series.timeframe),
            instrument_id=sql.Literal(-1 if instrument_id is None else instrument_id),
            timeframe=sql.Literal(series.timeframe.name),
            start=sql.Literal(to_datetime(span.start)),
            end=sql.Literal(to_datetime(span.end)),
        )
        return self._database.persistence.run(lambda: self._fetch(statement.as_string()))

    def latest_open_time(self, series: Series) -> UtcMs | None:
        """The open time of the newest candle, or None if there is none."""
        parameters = {"timeframe": series.timeframe.name, "symbol": series.symbol, "exchange": series.exchange}

        def look(connection: psycopg.Connection) -> Any:
            return connection.execute(query("latest_open_time"), parameters).fetchone()

        row = self._database.transact(look)
        return to_ms(row[0]) if row else None

    def latest(self, timeframe: Timeframe, symbols: Sequence[str] | None, exchange: str | None) -> pa.Table:
        """The newest candle of every series, or of those of ``symbols`` or ``exchange``: rows of the view ohlcv."""
        statement = query(
            "latest_candles",
            timeframe=sql.Literal(timeframe.name),
            symbols=sql.Literal(None if symbols is None else list(symbols)),
            exchange=sql.Literal(exchange),
        )
        return self._database.persistence.run(lambda: self._fetch(statement.as_string()))

    def close(self) -> None:
        """Give the connection back; the next read makes a new one."""
        with self._lock:
            self._drop()

    def _fetch(self, statement: str) -> pa.Table:
        from adbc_driver_manager import dbapi

        with self._lock:
            connection = self._connection = self._connection or self._database.persistence.connecting(self._connect)
            try:
                return attended(
                    partial(_fetched, connection, statement),
                    longest_silence_s=self._database.options.client_deadline_s,
                    given_up=self._database.persistence.given_up,
                    when_late=lambda _: connection.close(),
                )
            except ConnectionError:
                self._connection = None  # whoever is left alone with it closes it
                raise
            except dbapi.Error as error:
                self._drop()
                raise _translated(error) from error

    def _connect(self) -> Any:
        import adbc_driver_postgresql.dbapi as adbc

        try:
            return adbc.connect(self._database.conninfo, autocommit=True)
        except adbc.Error as error:
            raise _translated(error) from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _fetched(connection: Any, statement: str, progressed: Callable[[], None]) -> pa.Table:
    import pyarrow as pa

    with connection.cursor() as cursor:
        cursor.execute(statement)
        reader = cursor.fetch_record_batch()
        batches = []
        for batch in reader:
            batches.append(batch)
            progressed()
        return pa.Table.from_batches(batches, schema=reader.schema)


def _translated(error: Any) -> DatabaseError:
    """ADBC gives SQLSTATE in five characters, or zeros where libpq has none: then the connection failed."""
    state = (getattr(error, "sqlstate", None) or "").strip("\0").replace("00000", "") or None
    failure = classify_state(state) if state else CONNECTION_LOST
    message = f"PostgreSQL could not be read: {redact(str(error).strip().splitlines()[0])}"
    kind = ConnectionError if failure.kind is FailureClass.CONNECTION else DatabaseError
    return kind(message, hint=failure.hint, transient=failure.transient, sqlstate=state, kind=failure.kind.value)
