"""A foreign zip, opened with suspicion: one member, read as a stream, and never more than a file of candles can be.

The names in it are never used. Whatever is wrong raises BadPage: a zip that is cut, encrypted or of another method, a
checksum that does not fit, more members than one, or more bytes than the limits allow, whatever the zip declares.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from chandlery.errors import BadPage

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LARGEST_ZIP = 32 * 2**20
"""Bytes: a month of one instrument is about 1 MB, one of all dated futures of a family less than 20."""
LARGEST_UNPACKED = 256 * 2**20
"""Bytes: a month of one instrument is about 5 MB, one of twenty dated futures 100."""
LARGEST_RATIO = 100
"""Candles shrink to a fifth, flat ones to a fortieth; what shrinks further is no file of candles."""

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENTRY = b"PK\x01\x02"
_STRAY_ENTRIES = 16
"""So often the mark of an entry may stand in a zip by chance; each true one costs memory as soon as a zip is opened."""
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, EOFError, OSError, KeyError, OverflowError),
)
"""What the standard library raises for a zip that is none."""


@contextmanager
def opened(body: bytes) -> Iterator[io.BufferedReader]:
    """The only member of a zip as a stream, which raises BadPage as well; its checksum is verified where it ends."""
    if len(body) > LARGEST_ZIP:
        raise BadPage(f"A zip of {len(body)} bytes is larger than {LARGEST_ZIP}.")
    if body.count(_ENTRY) > _STRAY_ENTRIES:
        raise BadPage("A zip holds many members instead of one.")
    with ExitStack() as stack:
        with _understood():
            archive = stack.enter_context(zipfile.ZipFile(io.BytesIO(body)))
            packed = stack.enter_context(archive.open(_only_member(archive)))
        yield io.BufferedReader(_Bounded(packed, min(LARGEST_UNPACKED, LARGEST_RATIO * len(body))))


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise BadPage(f"A zip cannot be read: {error}.") from error


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) != 1:
        raise BadPage(f"A zip holds {len(members)} members instead of one.")
    (member,) = members
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
        raise BadPage("A zip is packed in a way that no file of candles is.")
    return member


class _Bounded(io.RawIOBase):
    """A stream that gives up, before it holds more in memory, where more than ``limit`` bytes come."""

    def __init__(self, packed: IO[bytes], limit: int) -> None:
        self._packed, self._limit, self._left = packed, limit, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with _understood():
            data = self._packed.read(len(view))
        self._left -= len(data)
        if self._left < 0:
            raise BadPage(f"A zip unpacks to more than {self._limit} bytes.")
        view[: len(data)] = data
        return len(data)
