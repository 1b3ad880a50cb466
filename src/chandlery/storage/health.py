"""Is the database fit for work? One list of checks, for ``health_check()`` and for ``chandlery doctor``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg

from chandlery.errors import DatabaseError
from chandlery.storage.database import Database
from chandlery.storage.schema import schema_status

OLDEST_SERVER = 140_000
"""PostgreSQL 14, the first with multiranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at: what it is, whether it is well, what was found, and what to do if it is not."""

    name: str
    ok: bool
    found: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All checks of a database; true if every one is well. ``latency_ms`` is one round trip, None if unreachable."""

    checks: tuple[Check, ...]
    latency_ms: float | None

    def __bool__(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def problems(self) -> tuple[Check, ...]:
        """The checks that are not well."""
        return tuple(check for check in self.checks if not check.ok)


def examine(database: Database) -> Health:
    """Look at connection, server, permissions and schema, without changing anything. Never raises for a bad answer."""
    try:
        latency_ms = _latency_ms(database)
    except DatabaseError as error:
        return Health(checks=(_failed("connection", error),), latency_ms=None)
    checks = [Check(name="connection", ok=True, found=f"{database.name}, {latency_ms:.1f} ms a round trip")]
    for name, look in (("server", _server), ("permissions", _permissions), ("schema", _schema)):
        try:
            checks.append(look(database))
        except DatabaseError as error:
            checks.append(_failed(name, error))
    return Health(checks=tuple(checks), latency_ms=latency_ms)


def _latency_ms(database: Database) -> float:
    database.transact(lambda connection: connection.execute("SELECT 1"))

    def timed(connection: psycopg.Connection) -> float:
        began = time.perf_counter()
        connection.execute("SELECT 1")
        return (time.perf_counter() - began) * 1000

    return database.transact(timed)


def _failed(name: str, error: DatabaseError) -> Check:
    return Check(name=name, ok=False, found=str(error.args[0]), hint=error.hint)


def _one_row(database: Database, statement: str) -> tuple[Any, ...]:
    def ask(connection: psycopg.Connection) -> Any:
        return connection.execute(statement).fetchone()

    return tuple(database.transact(ask))


def _server(database: Database) -> Check:
    number, version, standby = _one_row(
        database,
        "SELECT current_setting('server_version_num')::integer, current_setting('server_version'), pg_is_in_recovery()",
    )
    if number < OLDEST_SERVER:
        return Check(name="server", ok=False, found=f"PostgreSQL {version}", hint="Use PostgreSQL 14 or later.")
    if standby:
        found = f"PostgreSQL {version}, a read-only standby"
        return Check(name="server", ok=False, found=found, hint="Connect to the primary.")
    return Check(name="server", ok=True, found=f"PostgreSQL {version}")


def _permissions(database: Database) -> Check:
    user, partitions, temporary = _one_row(
        database,
        "SELECT current_user, coalesce("
        " has_function_privilege(to_regprocedure('chandlery.make_partition(text, timestamptz)')::oid, 'EXECUTE'),"
        " has_database_privilege(current_database(), 'CREATE')), has_database_privilege(current_database(), 'TEMP')",
    )
    abilities = (("make partitions", partitions), ("use TEMPORARY", temporary))
    lacking = [what for what, has in abilities if not has]
    if lacking:
        found = f"{user} may not {' nor '.join(lacking)}, so it can only read"
        return Check(name="permissions", ok=False, found=found, hint="To collect, log in as a member of the writers.")
    return Check(name="permissions", ok=True, found=f"{user} may write")


def _schema(database: Database) -> Check:
    status = schema_status(database)
    if status.too_new:
        hint = "Install the newer chandlery."
    elif status.pending:
        hint = "Run: chandlery schema apply"
    else:
        return Check(name="schema", ok=True, found=f"revision {status.applied}")
    return Check(name="schema", ok=False, found=f"revision {status.applied}, needed {status.head}", hint=hint)
