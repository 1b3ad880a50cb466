"""Pruning keeps the newest of days and weeks, and never lets the only good backup go."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from chandlery.services.backup.manifest import CHECKSUM, Manifest, Versions, write_manifest
from chandlery.services.backup.prune import Keep, expendable
from chandlery.services.backup.shelf import Backup, Shelf, Verdict
from chandlery.storage.fingerprints import Contents


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def made(shelf: Shelf, *moments: str) -> None:
    """An empty backup at each of these moments of 2024."""
    for moment in moments:
        time = int(datetime.fromisoformat(f"2024-{moment}").replace(tzinfo=UTC).timestamp() * 1000)
        versions = Versions(program="1", schema="0001", server="18", pg_dump="18")
        nothing = Contents(series=(), tables={})
        with shelf.add(time, "dump") as draft:
            manifest = Manifest(form="dump", made_at=time, database="", versions=versions, contents=nothing, files={})
            write_manifest(manifest, draft.folder)


def going(shelf: Shelf, *, last: int = 1, daily: int = 0, weekly: int = 0) -> list[str]:
    """Month and day of those that may go."""
    found = expendable(shelf.backups(), Keep(last=last, daily=daily, weekly=weekly))
    return [f"{backup.name[4:6]}-{backup.name[6:8]}" for backup in found]


def of(shelf: Shelf, day: str) -> Backup:
    [found] = [backup for backup in shelf.backups() if backup.name.startswith(f"2024{day.replace('-', '')}")]
    return found


def test_the_newest_stay(shelf: Shelf) -> None:
    made(shelf, "01-01T00:00", "01-02T00:00", "01-03T00:00")
    assert going(shelf, last=2) == ["01-01"]
    assert going(shelf, last=9) == []


def test_the_newest_of_each_day_and_week_stay(shelf: Shelf) -> None:
    """2024-01-01 was a Monday. Days without a backup do not count."""
    made(shelf, "01-01T01:00", "01-07T01:00", "01-07T23:00", "01-08T02:00", "01-14T00:00", "01-15T00:00")
    assert going(shelf, daily=3) == ["01-01", "01-07", "01-07"]
    assert going(shelf, weekly=3) == ["01-01", "01-07", "01-08"]
    assert going(shelf, daily=2, weekly=2) == ["01-01", "01-07", "01-07", "01-08"]


def test_the_newest_verified_and_the_newest_that_may_be_good_stay(shelf: Shelf) -> None:
    made(shelf, "01-01T00:00", "01-02T00:00", "01-03T00:00", "01-04T00:00", "01-05T00:00")
    of(shelf, "01-01").remember(Verdict(at=1, sound=True))
    of(shelf, "01-02").remember(Verdict(at=1, sound=True))
    of(shelf, "01-04").remember(Verdict(at=1, sound=False))
    (of(shelf, "01-05").folder / CHECKSUM).write_text("flipped")
    assert going(shelf, last=1) == ["01-01", "01-04", "01-05"]


def test_damaged_ones_stay_where_there_is_no_good_one(shelf: Shelf) -> None:
    made(shelf, "01-01T00:00", "01-02T00:00")
    for backup in shelf.backups():
        backup.remember(Verdict(at=1, sound=False))
    assert going(shelf) == []


def test_what_cannot_be_read_stays_and_is_named(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    """A disk or a mount that fails for a while says nothing about a backup; a file that is not there does."""
    made(shelf, "01-01T00:00", "01-02T00:00", "01-03T00:00")
    checksum = of(shelf, "01-01").folder / CHECKSUM
    checksum.unlink()
    checksum.mkdir()
    (of(shelf, "01-02").folder / CHECKSUM).unlink()
    assert going(shelf) == ["01-02"]
    assert "20240101T000000Z-dump: it stays" in caplog.text


def test_a_verdict_on_another_manifest_is_none(shelf: Shelf) -> None:
    made(shelf, "01-01T00:00")
    [backup] = shelf.backups()
    backup.remember(Verdict(at=1, sound=True))
    (backup.folder / CHECKSUM).write_text("other")
    assert backup.verdict is None


def test_what_killed_programs_left_is_no_backup_and_is_cleared_by_the_next(shelf: Shelf) -> None:
    made(shelf, "01-01T00:00", "01-02T00:00")
    of(shelf, "01-01").folder.rename(shelf.folder / ".20240101T000000Z-dump.new")
    assert [backup.name for backup in shelf.backups()] == ["20240102T000000Z-dump"]
    made(shelf, "01-02T00:00")
    assert sorted(path.name for path in shelf.folder.iterdir()) == [
        ".lock",
        "20240102T000000Z-dump",
        "20240102T000000Z-dump-2",
    ]
