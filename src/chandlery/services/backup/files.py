"""The files of a backup: their checksums, and whether they still have them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from chandlery.errors import StorageError
from chandlery.services.backup.manifest import CHECKSUM, MANIFEST, FileSum

VERDICT = "verified.json"
"""What the last verification found; it stands beside the backup and is no part of it."""
_NOT_IN_MANIFEST = frozenset({MANIFEST, CHECKSUM, VERDICT})


def sums(folder: Path) -> dict[str, FileSum]:
    """Every file below ``folder`` that a manifest lists, by its path with slashes. Raises StorageError."""
    return {path: _sum(folder / path) for path in _files(folder)}


def changed_files(folder: Path, written: Mapping[str, FileSum]) -> list[str]:
    """A sentence for each file that is not as it was written, is missing, or was not there. Raises StorageError."""
    there = set(_files(folder))
    found = [f"{path} is missing." for path in sorted(written.keys() - there)]
    found += [f"{path} does not belong to the backup." for path in sorted(there - written.keys())]
    for path in sorted(there & written.keys()):
        if _sum(folder / path) != written[path]:
            found.append(f"{path} is damaged: it does not have the checksum it was written with.")
    return found


def make_private(folder: Path) -> None:
    """Let nobody but the owner enter, read or write; wait until every file is on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            path.chmod(0o600)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        Path(place).chmod(0o700)
        flush_names(Path(place))


def flush_names(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def only_unreadable(error: StorageError) -> bool:
    """Whether a disk, a mount or a right kept us from reading: then nothing is known of what stands there."""
    cause = error.__cause__
    return isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)


def _files(folder: Path) -> Iterator[str]:
    for place, _, names in os.walk(folder, onerror=_refuse):
        for name in sorted(names):
            path = Path(place, name).relative_to(folder).as_posix()
            if path not in _NOT_IN_MANIFEST:
                yield path


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed would else look like one that is empty."""
    raise StorageError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _sum(path: Path) -> FileSum:
    try:
        if path.is_symlink():
            raise StorageError(f"{path} is a link; a backup has none.")
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return FileSum(bytes=file.tell(), sha256=sha256)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
