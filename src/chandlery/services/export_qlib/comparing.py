"""The new folder against the old one: whether it only grew at its end, or why it did not."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from chandlery.services.export_qlib.layout import CALENDARS, FEATURES, symbol_of
from chandlery.services.export_qlib.manifest import Manifest
from chandlery.services.export_qlib.report import Outcome

_BLOCK = 1 << 20


def compare(old: Path, before: Manifest | None, new: Path, after: Manifest) -> tuple[Outcome, str]:
    """What became of an export, and why if it was more than an append. Bytes are compared, not dates."""
    if before is None:
        return "new", ""
    gone = sorted(set(before.files) - set(after.files))
    if gone:
        return "rewritten", f"{_meaning(gone[0])} is no longer exported"
    grown = False
    for name in sorted(before.files, key=lambda name: (not name.startswith(CALENDARS), name)):
        if not (old / name).exists():
            return "rewritten", f"{name} was missing"
        if _is_dense(name) and not begins_with(new / name, old / name):
            return "rewritten", _reason(name)
        grown = grown or not _same(old / name, new / name)
    return ("appended" if grown or set(after.files) - set(before.files) else "unchanged"), ""


def begins_with(whole: Path, part: Path) -> bool:
    """Whether a file begins with all the bytes of another."""
    if part.stat().st_size > whole.stat().st_size:
        return False
    with whole.open("rb") as long, part.open("rb") as short:
        while block := short.read(_BLOCK):
            if long.read(len(block)) != block:
                return False
    return True


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and begins_with(one, other)


def _is_dense(name: str) -> bool:
    """Calendars and values may only grow at their end; a list of instruments has the new end in its middle."""
    return PurePosixPath(name).parts[0] in (CALENDARS, FEATURES)


def _reason(name: str) -> str:
    path = PurePosixPath(name)
    if path.parts[0] == CALENDARS:
        return f"the calendar {path.stem} begins or ends at another time than before"
    return f"{_meaning(name)} has other values, or begins at another row, than before"


def _meaning(name: str) -> str:
    """A file as a person would call it."""
    path = PurePosixPath(name)
    if path.parts[0] != FEATURES:
        return name
    field, freq, _ = path.name.split(".")
    return f"${field} of {symbol_of(path.parts[1])} in {freq}"
