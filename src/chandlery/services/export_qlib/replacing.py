"""Putting a whole folder in another's place: at every moment there is the old one or the new one.

The new one is filled beside it, under a name of its own. Where the system can, the two are exchanged in one step;
where it cannot, the old one is moved out of the way first, and whoever comes next after a kill in between moves it
back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fasteners

from chandlery.errors import ChandleryError, StorageError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FLUSHES_AT_ONCE = 16


class Aside:
    """The place where the new folder is filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.new = folder.with_name(f".{folder.name}.new")
        self._old = folder.with_name(f".{folder.name}.old")

    def prepare(self) -> None:
        """Clear away what a killed run left, and begin with an empty folder."""
        if self._old.exists() and not self.folder.exists():
            self._old.rename(self.folder)
        self.discard()
        self.new.mkdir()

    def swap_in(self) -> None:
        """Make the new folder the folder, once all of it is on the disk."""
        _flush(self.new)
        if not self.folder.exists():
            self.new.rename(self.folder)
        elif not _exchange(self.new, self.folder):
            self.folder.rename(self._old)
            self.new.rename(self.folder)
        _flush_one(self.folder.parent)

    def discard(self) -> None:
        """Remove what stands aside."""
        for leftover in (self.new, self._old):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def aside(folder: Path) -> Iterator[Aside]:
    """A place aside for a folder that nobody else replaces meanwhile. Raises StorageError."""
    folder = Path(os.path.realpath(folder))
    place = Aside(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = fasteners.InterProcessLock(folder.with_name(f".{folder.name}.lock"))
        if not lock.acquire(blocking=False):
            raise StorageError(f"{folder} is being exported by another process.", hint="Wait until that is done.")
        try:
            place.prepare()
            yield place
        finally:
            place.discard()
            lock.release()
    except ChandleryError:
        raise  # a lost connection to the database is an OSError too
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror or error}.", hint="Look at the disk and the permissions."
        ) from error


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where system or file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    outcome = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE))
    return bool(outcome == 0)


def _flush(root: Path) -> None:
    """Wait until every file below is on the disk, and the names that lead to it; many at once, as disks like it."""
    files = [Path(folder, name) for folder, _, names in os.walk(root) for name in names]
    folders = [Path(folder) for folder, _, _ in os.walk(root)]
    with ThreadPoolExecutor(_FLUSHES_AT_ONCE) as pool:
        for _ in pool.map(_flush_one, files):
            pass
        for _ in pool.map(_flush_one, folders):
            pass


def _flush_one(path: Path) -> None:
    """A file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
