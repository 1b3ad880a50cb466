"""Making a backup: everything as it was at one moment, while collecting goes on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import DataNotFoundError
from chandlery.services.backup.files import sums
from chandlery.services.backup.manifest import Form, Manifest, Versions, write_manifest
from chandlery.services.backup.portable import NOT_PORTABLE, write_portable
from chandlery.services.backup.shelf import Backup, Shelf
from chandlery.storage.client_programs import ClientPrograms, fitting
from chandlery.storage.database import Database
from chandlery.storage.fingerprints import Contents, OnSeries, plain_tables, read_contents
from chandlery.storage.held_still import Snapshot, snapshot
from chandlery.storage.schema import require_schema, schema_status

DUMP = "dump"
"""The folder of pg_dump's files."""


def create_backup(
    database: Database,
    shelf: Shelf,
    *,
    form: Form,
    now: UtcMs,
    folders: Sequence[Path],
    jobs: int = 2,
    on_series: OnSeries,
) -> Backup:
    """Add a backup of ``database`` to ``shelf``. ``on_series`` is told of each series before it is read.

    ``folders`` are those in which pg_dump may be found; ``jobs`` is how many connections it uses.
    Raises DatabaseError, StorageError, ConfigurationError if no pg_dump fits the server, or DataNotFoundError if no
    series is stored: then most likely another database was meant.
    """
    require_schema(database, create=False)
    with snapshot(database) as held, shelf.add(now, form) as draft:
        if form == "portable":
            clients, contents = None, _portable_contents(held, draft.folder, on_series)
        else:
            clients = fitting(held.server, folders)
            contents = _dumped_contents(held, clients, draft.folder, jobs, on_series)
        if not contents.series:
            raise DataNotFoundError(
                f"the database {database.name} holds no series, so there is nothing to back up.",
                hint="Name the one that holds your candles (CHANDLERY_DATABASE_URL, --config), or collect some first.",
            )
        versions = Versions(
            program=metadata.version("chandlery"),
            schema=schema_status(database).applied or "",
            server=held.connection.info.parameter_status("server_version") or "",
            pg_dump=None if clients is None else clients.version,
        )
        write_manifest(
            Manifest(
                form=form,
                made_at=now,
                database=database.name,
                versions=versions,
                contents=contents,
                files=sums(draft.folder),
            ),
            draft.folder,
        )
    return draft.backup


def _dumped_contents(held: Snapshot, clients: ClientPrograms, folder: Path, jobs: int, on_series: OnSeries) -> Contents:
    """Dump and fingerprint the same moment, side by side."""
    with clients.dumping(held.connection, folder / DUMP, held.name, jobs) as program:

        def watch(series: Series) -> None:
            program.check()
            on_series(series)

        contents = read_contents(held.connection, watch)
        program.finish()
    return contents


def _portable_contents(held: Snapshot, folder: Path, on_series: OnSeries) -> Contents:
    tables = {t.name: t.columns for t in plain_tables(held.connection) if t.name not in NOT_PORTABLE}
    contents = read_contents(held.connection, on_series, tables)
    write_portable(held.connection, contents, folder, on_series)
    return contents
