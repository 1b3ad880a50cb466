"""What an export left in its folder, so that the next one knows its own files from other people's.

The manifest is the last file of an export. A folder without one is nobody's of ours and is not touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chandlery.errors import ConfigurationError, StorageError
from chandlery.services.export_qlib.layout import CALENDARS, FEATURES, MANIFEST

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of an export with their fingerprints; names are relative to the folder, with slashes."""

    files: dict[str, str]

    @classmethod
    def of(cls, root: Path, *, without: Collection[str] = ()) -> Manifest:
        """Of everything in a folder but some names."""
        return cls({name: fingerprint(root / name) for name in sorted(set(names_in(root)) - set(without))})

    @classmethod
    def read(cls, root: Path) -> Manifest | None:
        """That of a folder; None if there is nothing. Raises ConfigurationError for a folder that is not ours."""
        path = root / MANIFEST
        if not path.exists():
            if root.exists() and (not root.is_dir() or any(root.iterdir())):
                raise ConfigurationError(
                    f"{root} holds something that chandlery did not export.", hint="Name a new or an empty folder."
                )
            return None
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return cls(dict(kept["files"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path} is damaged.", hint="Remove the folder, and export again.") from error

    def write(self, root: Path) -> None:
        """Put it into a folder."""
        text = json.dumps({"made_by": "chandlery", "format": _FORMAT, "files": self.files}, indent=1)
        (root / MANIFEST).write_text(text + "\n", encoding="utf-8")


def names_in(root: Path) -> Iterator[str]:
    """Every file below a folder but its manifest."""
    for folder, _, files in os.walk(root):
        for file in files:
            name = Path(folder, file).relative_to(root).as_posix()
            if name != MANIFEST:
                yield name


def fingerprint(path: Path) -> str:
    """A short digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def carry_over(old: Path, known: Manifest, new: Path) -> None:
    """Take along what people added to an export: lists of instruments, notes.

    Values and calendars of other people are refused: rows of ours may come to mean other times.
    Raises ConfigurationError.
    """
    for name in sorted(set(names_in(old)) - set(known.files)):
        if PurePosixPath(name).parts[0] in (CALENDARS, FEATURES):
            raise ConfigurationError(
                f"{old / name} was not exported by chandlery, and its rows may come to mean other times.",
                hint="Move it away, and export again.",
            )
        target = new / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(old / name, target)
