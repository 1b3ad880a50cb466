"""Bringing a backup back into an empty database, and proving that all of it came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from chandlery.domain.instrument import Series
from chandlery.errors import ConfigurationError, DamagedDataError, SchemaError, StorageError
from chandlery.services.backup.comparing import differences
from chandlery.services.backup.create import DUMP
from chandlery.services.backup.files import changed_files
from chandlery.services.backup.manifest import Manifest
from chandlery.services.backup.portable import restore_portable
from chandlery.services.backup.shelf import Backup
from chandlery.storage.client_programs import fitting
from chandlery.storage.database import Database
from chandlery.storage.fingerprints import OnSeries, plain_tables, read_contents
from chandlery.storage.held_still import unhurried
from chandlery.storage.migrations import head
from chandlery.storage.schema import apply_schema
from chandlery.storage.sql import query

_SHOWN = 5


def restore_backup(backup: Backup, database: Database, *, folders: Sequence[Path], on_series: OnSeries) -> Manifest:
    """Bring ``backup`` into ``database``, which must be empty, and compare every fingerprint.

    A backup of an older schema is brought to this program's.

    Raises ConfigurationError if it is not empty, StorageError if the backup is damaged, SchemaError if a newer program
    made it, DamagedDataError if what came back is not what was backed up.
    """
    manifest = backup.manifest
    damage = changed_files(backup.folder, manifest.files)
    if damage:
        raise StorageError(f"the backup {backup.name} is damaged: {_few(damage)}", hint="Take an older one.")
    put_back(backup, database, folders, on_series)
    wrong = compared(manifest, database)
    if wrong:
        raise DamagedDataError(f"what was restored is not what was backed up: {_few(wrong)}")
    return manifest


def put_back(backup: Backup, database: Database, folders: Sequence[Path], on_series: OnSeries) -> None:
    """The same without a look at the checksums before and at the data afterwards."""
    manifest = backup.manifest
    if manifest.versions.schema > head():
        raise SchemaError(
            f"the backup has schema {manifest.versions.schema}, this program knows {head()}.",
            hint="Install the newer chandlery.",
        )
    if manifest.form == "portable":
        _leave_nothing(database)
        restore_portable(database, backup.folder, manifest, on_series)
    else:
        _restore_dump(backup, database, folders)


def _restore_dump(backup: Backup, database: Database, folders: Sequence[Path]) -> None:
    made_by = int((backup.manifest.versions.pg_dump or "0").split(".")[0])
    with unhurried(database) as connection:
        clients = fitting(connection.info.server_version // 10_000, folders, made_by=made_by)
        _leave_nothing(database)
        clients.restore(connection, backup.folder / DUMP)
        connection.execute(query("close_definer_functions"))
    apply_schema(database)


def compared(manifest: Manifest, database: Database) -> list[str]:
    """A sentence for everything that ``database`` holds otherwise than the manifest says.

    Of tables that migrations may have changed since only the number of rows is compared.
    """
    tables = {name: table.columns for name, table in manifest.contents.tables.items()}

    def silent(_: Series) -> None:
        """Nobody waits for this long."""

    with unhurried(database, look_only=True) as connection:
        found = read_contents(connection, silent, tables)
    same_schema = manifest.versions.schema == head() or manifest.form == "portable"
    return differences(manifest.contents, found, rows_alone=not same_schema)


def _leave_nothing(database: Database) -> None:
    """Drop a schema that holds nothing; the backup brings its own. Raises ConfigurationError if it holds anything."""
    with unhurried(database) as connection:
        names = [row[0] for row in connection.execute(query("schema_tables"))]
        if not names:
            connection.execute("DROP SCHEMA IF EXISTS chandlery")
            return
        _refuse_unless_empty(connection, database)
        tables = sql.SQL(", ").join(sql.Identifier("chandlery", name) for name in names)
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))
        _refuse_unless_empty(connection, database)  # now that nobody can write
        connection.execute("DROP SCHEMA chandlery CASCADE")


def _refuse_unless_empty(connection: psycopg.Connection, database: Database) -> None:
    found = _first_that_holds_something(connection)
    if found is not None:
        raise ConfigurationError(
            f"{database.name} is not empty: {found}.",
            hint="Restore into an empty database, or for the embedded server into another data.folder.",
        )


def _first_that_holds_something(connection: psycopg.Connection) -> str | None:
    tables = [(t.name, t.identifier) for t in plain_tables(connection) if t.name != "schema_version"]
    for name, table in [("candle", sql.Identifier("chandlery", "candle")), *tables]:
        if connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(table)).fetchone() is not None:
            return f"the table chandlery.{name} has rows"
    view = connection.execute(query("others_that_use_the_schema")).fetchone()
    return None if view is None else f"the view {view[0]} uses its tables"


def _few(sentences: list[str]) -> str:
    more = len(sentences) - _SHOWN
    return " ".join(sentences[:_SHOWN]) + (f" And {more:,} more." if more > 0 else "")
