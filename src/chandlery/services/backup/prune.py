"""Which backups may go: all but the newest few, the newest of some days and weeks, and the newest that is good."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chandlery.domain.timeframe import DAY_MS, UtcMs
from chandlery.errors import StorageError
from chandlery.services.backup.files import only_unreadable
from chandlery.services.backup.shelf import Backup

_FIRST_MONDAY_MS = 4 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How many to keep: the newest ``last``, and the newest of each of so many days and weeks (UTC) that have one."""

    last: int
    daily: int
    weekly: int


def expendable(backups: Sequence[Backup], keep: Keep) -> list[Backup]:
    """Those that may go, the oldest first.

    A backup that is known to be damaged may go where a good one is kept. The newest good one always stays, and so does
    the newest that was verified. What cannot be read at this moment may be good, so it stays as well.
    """
    newest = sorted(filter(_may_be_good, backups), key=lambda backup: backup.manifest.made_at, reverse=True)
    kept = {backup.folder for backup in backups if _cannot_be_read(backup)}
    if not newest:
        return []
    kept |= {backup.folder for backup in newest[: max(keep.last, 1)]}
    kept |= {backup.folder for backup in [b for b in newest if b.verdict is not None][:1]}
    kept |= _newest_of_each(newest, keep.daily, lambda time: time // DAY_MS)
    kept |= _newest_of_each(newest, keep.weekly, lambda time: (time - _FIRST_MONDAY_MS) // (7 * DAY_MS))
    return [backup for backup in backups if backup.folder not in kept]


def _may_be_good(backup: Backup) -> bool:
    """Whether its manifest can be read, and no verification found anything wrong."""
    try:
        _ = backup.manifest
    except StorageError:
        return False
    return backup.verdict is None or backup.verdict.sound


def _cannot_be_read(backup: Backup) -> bool:
    try:
        _ = backup.manifest
    except StorageError as error:
        if only_unreadable(error):
            logging.getLogger("chandlery").warning("%s Nothing is known of %s: it stays.", error.args[0], backup.name)
            return True
    return False


def _newest_of_each(newest: Sequence[Backup], count: int, period: Callable[[UtcMs], int]) -> set[Path]:
    """The newest backup of each of the last ``count`` periods that have one."""
    found: dict[int, Path] = {}
    for backup in newest:
        found.setdefault(period(backup.manifest.made_at), backup.folder)
    return set(list(found.values())[:count])
