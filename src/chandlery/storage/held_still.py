"""Transactions that take as long as they need: one snapshot for a whole backup, one commit for a whole restore."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import IsolationLevel, sql

from chandlery.storage.database import Database
from chandlery.storage.failures import Phase, translated
from chandlery.storage.sql import query

_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
_TEXT_FORMS = {"timezone": "UTC", "datestyle": "ISO, YMD", "extra_float_digits": "1", "bytea_output": "hex"}
"""So that the text of a row depends on the row alone."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the database: what ``connection`` sees, and what others see who adopt it by its ``name``."""

    connection: psycopg.Connection
    name: str

    @property
    def server(self) -> int:
        """The server's major version."""
        return self.connection.info.server_version // 10_000


@contextlib.contextmanager
def snapshot(database: Database) -> Iterator[Snapshot]:
    """Everything as it is now, for as long as the block lasts; writing goes on. Raises DatabaseError.

    Nobody can truncate or drop a table meanwhile: those who look at the past would find it empty.
    """
    names = database.transact(lambda connection: [row[0] for row in connection.execute(query("schema_tables"))])
    with unhurried(database, look_only=True) as connection:
        tables = sql.SQL(", ").join(sql.Identifier("chandlery", name) for name in names)
        # the locks come first: the first query fixes what this transaction sees
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(tables))
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield Snapshot(connection, row[0])


@contextlib.contextmanager
def unhurried(database: Database, *, look_only: bool = False) -> Iterator[psycopg.Connection]:
    """A transaction without limits of time, on a connection of its own; all or nothing. Raises DatabaseError.

    With ``look_only`` it sees one moment and changes nothing.
    """
    connection = database.persistence.run(database.connect)
    try:
        if look_only:
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.read_only = True
        for name, value in dict.fromkeys(_LIMITS, "0").items() | _TEXT_FORMS.items():
            connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        yield connection
        connection.commit()
    except psycopg.Error as error:
        raise translated(error, broken=connection.broken, phase=Phase.EXECUTE) from error
    finally:
        connection.close()
