"""Files as streams of text, packed or not; opened for reading only, and unpacked in memory, block by block.

A packed file may be hostile: a few kilobytes that unpack to terabytes. So its ratio, its size and its members have
limits, which are applied to what really comes out, not to what its directory says.
"""

from __future__ import annotations

import contextlib
import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from chandlery.errors import DataValidationError

KINDS = (".csv", ".csv.gz", ".zip")
"""The files that a folder is searched for."""

MAX_UNPACKED_BYTES = 8 << 30
"""What one packed file may give: fifty years of minutes are 2 GB of text."""

MAX_RATIO = 200
"""Text of candles packs 4 to 1, a month of flat candles without volume 24 to 1; a bomb 1,000 to 1."""

RATIO_COUNTS_FROM_BYTES = 64 << 20
"""Below that, whatever the ratio, unpacking does nobody any harm."""

MAX_MEMBERS = 10_000
"""Every instrument of an exchange in every timeframe is a few thousand files."""

_UNPACKING_FAILS = (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile, NotImplementedError, RuntimeError)


class Stream(Protocol):
    """Something to read bytes from."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Text that may hold candles. ``name`` is for people; ``stem`` is the file's name without its kind.

    ``open`` may be called again and gives the same text each time. ``folder`` is the name of the folder it lies in,
    and ``path`` the file on the disk, None for a table.
    """

    name: str
    stem: str
    folder: str
    path: Path | None
    open: Callable[[], AbstractContextManager[Stream]]


def sources_in(path: Path) -> list[Source]:
    """The texts in a file: itself, or the CSV files in a zip file. Raises DataValidationError, or OSError."""
    if path.name.lower().endswith(".zip"):
        return [_member(path, name) for name in _members(path)]
    stem = path.name
    for suffix in (".gz", ".csv", ".txt"):
        stem = stem[: -len(suffix)] if stem.lower().endswith(suffix) else stem
    unpack = _gunzipped if path.name.lower().endswith(".gz") else _plain
    folder = path.resolve().parent.name
    return [Source(name=str(path), stem=stem, folder=folder, path=path, open=lambda: unpack(path))]


def _members(path: Path) -> list[str]:
    with _told(str(path)), zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if len(infos) > MAX_MEMBERS:
            raise DataValidationError(
                f"{path} has {len(infos):,} members, more than {MAX_MEMBERS:,}.", hint="Unpack it."
            )
        names = [info.filename for info in infos if info.filename.lower().endswith(".csv")]
    if not names:
        raise DataValidationError(f"{path} has no CSV file in it.", hint="Name files or zips of CSV files.")
    return names


def _member(path: Path, name: str) -> Source:
    inside = PurePosixPath(name)
    return Source(
        name=f"{path}:{name}",
        stem=inside.stem,
        folder=inside.parent.name,
        path=path,
        open=lambda: _unzipped(path, name),
    )


@contextlib.contextmanager
def _plain(path: Path) -> Iterator[Stream]:
    with path.open("rb") as file:
        yield file


@contextlib.contextmanager
def _gunzipped(path: Path) -> Iterator[Stream]:
    with _told(str(path)), gzip.open(path, "rb") as file:
        yield _Guarded(file, str(path), path.stat().st_size)


@contextlib.contextmanager
def _unzipped(path: Path, name: str) -> Iterator[Stream]:
    whole = f"{path}:{name}"
    with _told(whole), zipfile.ZipFile(path) as archive, archive.open(name) as member:
        yield _Guarded(member, whole, archive.getinfo(name).compress_size)


class _Guarded:
    """Counts what comes out of a packed file, and stops where the limits are."""

    def __init__(self, inner: Stream, name: str, packed_bytes: int) -> None:
        self._inner = inner
        self._name = name
        self._most = min(MAX_UNPACKED_BYTES, max(RATIO_COUNTS_FROM_BYTES, MAX_RATIO * packed_bytes))
        self._given = 0

    def read(self, size: int, /) -> bytes:
        data = self._inner.read(size)
        self._given += len(data)
        if self._given > self._most:
            raise DataValidationError(
                f"{self._name} unpacks to more than {self._most:,} bytes, which candles do not.",
                hint=f"The limits are {MAX_RATIO} to 1 and {MAX_UNPACKED_BYTES:,} bytes; unpack it if you trust it.",
            )
        return data


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What goes wrong while unpacking, as a sentence."""
    try:
        yield
    except _UNPACKING_FAILS as error:
        what = str(error).rstrip(".") or type(error).__name__
        raise DataValidationError(f"{name} cannot be unpacked: {what}.", hint="Fetch it again.") from error
