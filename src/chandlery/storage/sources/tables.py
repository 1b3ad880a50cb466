"""An existing table of candles in PostgreSQL, as the same text that a CSV file is: one way of reading fits both.

The server writes numbers and times out exactly, NUMERIC included, and sorts by series and time. Everything is read in
one read-only transaction, so that every reading sees the same rows whatever is written meanwhile.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping

import psycopg
from psycopg import errors, sql

from chandlery.errors import DataValidationError
from chandlery.storage.database import Database
from chandlery.storage.sources.archives import Source, Stream
from chandlery.storage.sources.layouts import layout_of


@contextlib.contextmanager
def table_source(conninfo: str, table: str, named: Mapping[str, str]) -> Iterator[Source]:
    """The rows of ``table`` or ``schema.table``, with the ``named`` columns where it calls them otherwise.

    Raises DatabaseError, or DataValidationError for a table that is not there or has not the columns of candles.
    """
    database = Database(conninfo)
    name = sql.Identifier(*table.split("."))
    with database.translated_errors(), contextlib.closing(database.connect()) as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'")
        statement = _statement(_columns(connection, name, table), name, named, table)
        yield Source(
            name=f"the table {table}",
            stem=table,
            folder="",
            path=None,
            open=lambda: _copied(connection, statement),
        )


def _columns(connection: psycopg.Connection, name: sql.Identifier, table: str) -> list[str]:
    try:
        cursor = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(name))
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise DataValidationError(f"there is no table {table}.", hint="Write it as in schema.table.") from error
    return [column.name for column in cursor.description or ()]


def _statement(columns: list[str], name: sql.Identifier, named: Mapping[str, str], table: str) -> sql.Composed:
    """What a candle needs and no more, series by series, oldest first."""
    header = io.StringIO()
    csv.writer(header).writerow(columns)
    layout = layout_of(header.getvalue().strip(), named, f"the table {table}")
    keys = [layout.places[thing] for thing in ("symbol", "timeframe", "open_time") if thing in layout.places]
    return sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT (FORMAT csv, HEADER)").format(
        sql.SQL(", ").join(sql.Identifier(columns[place]) for place in sorted(layout.needed)),
        name,
        sql.SQL(", ").join(sql.Identifier(columns[place]) for place in keys),
    )


@contextlib.contextmanager
def _copied(connection: psycopg.Connection, statement: sql.Composed) -> Iterator[Stream]:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield _Copied(copy)


class _Copied:
    """What the server sends, a row a message, joined to what is asked for."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self._left = bytearray()

    def read(self, size: int, /) -> bytes:
        while len(self._left) < size and (row := self._copy.read()):
            self._left += row
        data = bytes(self._left[:size])
        del self._left[:size]
        return data
