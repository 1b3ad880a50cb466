"""The folder of backups: each stands in a folder of its own, which appears when it is complete."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import fasteners

from chandlery.domain.timeframe import UtcMs
from chandlery.errors import ChandleryError, DataNotFoundError, StorageError
from chandlery.services.backup.files import VERDICT, flush_names, make_private
from chandlery.services.backup.manifest import CHECKSUM, MANIFEST, Form, Manifest, read_manifest
from chandlery.storage.embedded_account import ROOT_HOME, is_root

_LOCK = ".lock"
_NEW, _OLD = ".new", ".old"


def default_folder() -> Path:
    """Where backups go unless a setting says otherwise: beside the data of the embedded server, never among it."""
    import platformdirs

    name = "chandlery-backups"
    return ROOT_HOME.with_name(name) if is_root() else Path(platformdirs.user_data_dir(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the last verification of a backup found."""

    at: UtcMs
    sound: bool


@dataclass(frozen=True)
class Backup:
    """One complete backup in its folder."""

    folder: Path

    @property
    def name(self) -> str:
        """Its folder's name, which begins with the time."""
        return self.folder.name

    @cached_property
    def manifest(self) -> Manifest:
        """What it says of itself. Raises StorageError if that is damaged."""
        return read_manifest(self.folder)

    @property
    def verdict(self) -> Verdict | None:
        """What the last verification found, None if there was none since it was written."""
        try:
            said = json.loads((self.folder / VERDICT).read_text())
            if said["manifest"] == (self.folder / CHECKSUM).read_text():
                return Verdict(at=int(said["at"]), sound=said["sound"] is True)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def remember(self, verdict: Verdict) -> None:
        """Keep what a verification found, where the folder can be written to."""
        with contextlib.suppress(OSError):
            manifest = (self.folder / CHECKSUM).read_text()
            said = json.dumps({"at": verdict.at, "sound": verdict.sound, "manifest": manifest})
            aside = self.folder / f".{VERDICT}"
            aside.write_text(said + "\n")
            aside.chmod(0o600)
            aside.replace(self.folder / VERDICT)


@dataclass(frozen=True, slots=True)
class Draft:
    """A backup in the making: the folder to fill, and what it becomes."""

    folder: Path
    backup: Backup


class Shelf:
    """All backups in one folder, which is made when the first one is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    def backups(self) -> list[Backup]:
        """Those that are complete, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if path.name[0] != "." and (path / MANIFEST).is_file()]
        return [Backup(path) for path in sorted(found)]

    def find(self, name: str) -> Backup:
        """The backup of this name, or the newest for ``latest``; a path leads to any other place.

        Raises DataNotFoundError.
        """
        there = {backup.name: backup for backup in self.backups()}
        if name == "latest" and there:
            return there[max(there)]
        if name in there:
            return there[name]
        if os.sep in name and (Path(name) / MANIFEST).is_file():
            return Backup(Path(name).absolute())
        raise DataNotFoundError(f"there is no backup {name!r} in {self.folder}.", hint="Run: chandlery backup list")

    def holds(self, backup: Backup) -> bool:
        """Whether it stands in this folder, and not elsewhere."""
        return backup.folder.parent == self.folder

    @contextlib.contextmanager
    def add(self, made_at: UtcMs, form: Form) -> Iterator[Draft]:
        """A folder to fill, which becomes a backup at the end of the block, if that comes. Raises StorageError."""
        with self._locked():
            self._clear()
            name = self._free_name(made_at, form)
            aside = self.folder / f".{name}{_NEW}"
            aside.mkdir(mode=0o700)
            try:
                yield Draft(aside, Backup(self.folder / name))
                make_private(aside)
                aside.rename(self.folder / name)
                flush_names(self.folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def remove(self, backup: Backup) -> None:
        """Delete a backup; killed in the middle, it is no backup any more. Raises StorageError."""
        with self._locked():
            aside = self.folder / f".{backup.name}{_OLD}"
            backup.folder.rename(aside)
            shutil.rmtree(aside)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One program at a time changes the folder."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = fasteners.InterProcessLock(self.folder / _LOCK)
            if not lock.acquire(blocking=False):
                raise StorageError(
                    f"another program is making or deleting a backup in {self.folder}.", hint="Wait until it is done."
                )
            try:
                yield
            finally:
                lock.release()
        except ChandleryError:
            raise  # a lost connection to the database is an OSError too
        except OSError as error:
            raise StorageError(
                f"{error.filename or self.folder} cannot be written: {error.strerror or error}.",
                hint="Look at the disk and the permissions.",
            ) from error

    def _clear(self) -> None:
        """Remove what killed programs left."""
        for path in self.folder.glob(".*"):
            if path.suffix in (_NEW, _OLD):
                shutil.rmtree(path, ignore_errors=True)

    def _free_name(self, made_at: UtcMs, form: Form) -> str:
        moment = datetime.fromtimestamp(made_at / 1000, UTC)
        name = f"{moment:%Y%m%dT%H%M%SZ}-{form}"
        number = 2
        while (self.folder / name).exists():
            name = f"{moment:%Y%m%dT%H%M%SZ}-{form}-{number}"
            number += 1
        return name
