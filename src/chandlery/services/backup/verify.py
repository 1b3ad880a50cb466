"""Proving a backup: every file has its checksum, and restored into a server of its own it gives every fingerprint."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from chandlery.domain.timeframe import UtcMs
from chandlery.errors import DamagedDataError, StorageError
from chandlery.services.backup.files import changed_files, only_unreadable
from chandlery.services.backup.restore import compared, put_back
from chandlery.services.backup.shelf import Backup, Verdict
from chandlery.storage.database import Database
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.fingerprints import OnSeries

_READ = "Look at the disk, the mount and the permissions, and verify again."


def verify_backup(backup: Backup, *, folders: Sequence[Path], now: UtcMs, on_series: OnSeries) -> list[str]:
    """A sentence for everything that is wrong with a backup; nothing if it is sound. The verdict is remembered.

    It needs as much room for temporary files as the database takes. Raises ConfigurationError if there is no embedded
    server here, or no pg_restore that can read the backup, StorageError if a file cannot be read, and DatabaseError if
    it cannot be restored. That may be the fault of this machine: then nothing is remembered.
    """
    found = list(_damage(backup)) or list(_loss(backup, folders, on_series))
    backup.remember(Verdict(at=now, sound=not found))
    return found


def _damage(backup: Backup) -> Iterator[str]:
    try:
        yield from changed_files(backup.folder, backup.manifest.files)
    except StorageError as error:
        if only_unreadable(error):
            raise StorageError(
                f"{error.args[0]} So it is not known whether {backup.name} is sound.", hint=_READ
            ) from error
        yield str(error)


def _loss(backup: Backup, folders: Sequence[Path], on_series: OnSeries) -> Iterator[str]:
    with _scratch_database() as database:
        try:
            put_back(backup, database, folders, on_series)
            yield from compared(backup.manifest, database)
        except DamagedDataError as error:
            yield str(error)


@contextlib.contextmanager
def _scratch_database() -> Iterator[Database]:
    """A database in a server of its own, which is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="chandlery-verify-"))
    try:
        with EmbeddedServer(folder, durable=False) as server, contextlib.closing(Database(server.conninfo)) as database:
            yield database
    finally:
        shutil.rmtree(folder, ignore_errors=True)
