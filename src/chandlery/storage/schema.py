"""The schema's version: what the database has, what this program brings, and the way from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from chandlery.errors import SchemaError
from chandlery.storage.database import Database
from chandlery.storage.migrations import SCHEMA, VERSION_TABLE, head
from chandlery.storage.sql import query

_LOCK_KEY = 0x6368616E646C  # "chandl": one migration at a time a database


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """``applied`` is the database's revision, None where there is no schema; ``head`` is this program's."""

    applied: str | None
    head: str

    @property
    def pending(self) -> bool:
        """Whether the database lacks something that this program needs."""
        return self.applied is None or self.applied < self.head

    @property
    def too_new(self) -> bool:
        """Whether a newer program has changed the schema."""
        return self.applied is not None and self.applied > self.head


def schema_status(database: Database) -> SchemaStatus:
    """Look at the database without changing it."""

    def look(connection: Any) -> str | None:
        table = f"{SCHEMA}.{VERSION_TABLE}"
        (exists,) = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
        if not exists:
            return None
        row = connection.execute("SELECT version_num FROM chandlery.schema_version").fetchone()
        return row[0] if row else None

    return SchemaStatus(applied=database.transact(look), head=head())


def apply_schema(database: Database) -> SchemaStatus:
    """Bring the schema to this program's revision in one transaction; nothing happens if it is there already.

    Raises SchemaError if a newer program has changed it.
    """
    status = schema_status(database)
    if status.too_new:
        raise _too_new(status)
    if status.pending:
        database.persistence.run(lambda: upgrade_to(database, "head"))
    return schema_status(database)


def require_schema(database: Database, *, create: bool = True) -> None:
    """Make sure that the schema fits this program.

    An absent schema is made if ``create``; an older one is left for ``chandlery schema apply``, because whoever owns a
    database decides when it changes. Raises SchemaError otherwise.
    """
    status = schema_status(database)
    if status.applied is None and create:
        apply_schema(database)
    elif status.too_new:
        raise _too_new(status)
    elif status.pending:
        has = "no schema" if status.applied is None else f"schema {status.applied}"
        raise SchemaError(
            f"the database has {has}, this program needs {status.head}.", hint="Run: chandlery schema apply"
        )


def _too_new(status: SchemaStatus) -> SchemaError:
    return SchemaError(
        f"the database has schema {status.applied}, this program knows {status.head}.",
        hint="Install the newer chandlery.",
    )


def upgrade_to(database: Database, revision: str) -> None:
    """Apply what lacks up to ``revision`` in one transaction, as the owner of the tables. Raises DatabaseError."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine("postgresql+psycopg://", creator=database.connect, poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", "chandlery.storage:migrations")
    config.set_main_option("path_separator", "os")
    with database.translated_errors(), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        _become_owner(connection.connection.driver_connection)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _become_owner(connection: Any) -> None:
    """For this transaction, so that a member of the owner's role adds to what the role owns; or make the schema."""
    row = connection.execute(query("owner_of_tables")).fetchone()
    if row is None:
        connection.execute("CREATE SCHEMA IF NOT EXISTS chandlery")
    elif row[1]:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(row[0])))
