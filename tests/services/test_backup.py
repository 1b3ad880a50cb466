"""A backup gives everything back to the last bit, is known to be damaged if it is, and never harms what is there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from candles import START, candles, changed, series
from chandlery.domain.candle import CandleBatch, Rejected
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.errors import (
    ConfigurationError,
    DamagedDataError,
    DatabaseError,
    DataNotFoundError,
    SchemaError,
    StorageError,
)
from chandlery.services.backup.create import create_backup
from chandlery.services.backup.manifest import CHECKSUM, MANIFEST, Form, write_manifest
from chandlery.services.backup.restore import restore_backup
from chandlery.services.backup.shelf import Backup, Shelf
from chandlery.services.backup.verify import verify_backup
from chandlery.services.seal import Sealer
from chandlery.storage.client_programs import usual_folders
from chandlery.storage.database import Database
from chandlery.storage.delivery import Delivery
from chandlery.storage.fingerprints import Contents, fingerprint, read_contents
from chandlery.storage.held_still import snapshot, unhurried
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.schema import schema_status

DAY = 86_400_000
NOW = START + 400 * DAY
HALF_HOURS, MINUTES, MONTHS, WEEKS = (series(interval=bar) for bar in ("30m", "1m", "1M", "1w"))
FORMS: tuple[Form, Form] = ("dump", "portable")


def silent(_: Series) -> None:
    """Nobody looks."""


def back_up(storage: PostgreSQLStorage, shelf: Shelf, form: Form = "dump", now: int = NOW) -> Backup:
    return create_backup(storage.database, shelf, form=form, now=now, folders=usual_folders(), on_series=silent)


def restore(backup: Backup, conninfo: str) -> None:
    with contextlib.closing(Database(conninfo)) as database:
        restore_backup(backup, database, folders=usual_folders(), on_series=silent)


def contents(conninfo: str) -> Contents:
    with contextlib.closing(Database(conninfo)) as database, unhurried(database, look_only=True) as connection:
        return read_contents(connection, silent)


def verify(backup: Backup) -> list[str]:
    return verify_backup(backup, folders=usual_folders(), now=NOW, on_series=silent)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "backups")


@pytest.fixture
def full(storage: PostgreSQLStorage) -> PostgreSQLStorage:
    """Rows, sealed months with and without rows, unknown turnovers, a revision, a rejected row, a derived span."""
    storage.require_schema()
    half_hours = candles(HALF_HOURS, 75 * 48)
    unknown = half_hours.columns() | {"quote_volume": np.where(half_hours.open_time % DAY, np.nan, 1e300 / 3)}
    for batch in (CandleBatch.of(HALF_HOURS, unknown), candles(MONTHS, 8), candles(WEEKS, 60)):
        storage.writer.write([Delivery(batch=batch, covered=batch.runs())])
    sealer = Sealer(storage)
    [entry] = sealer.entries(timeframes=["30m"])
    sealer.seal(entry, before=START + 45 * DAY)
    sealer.drop_rows(entry)
    sealer.seal(entry, before=START + 75 * DAY)
    minutes = candles(MINUTES, 100)
    storage.writer.write([Delivery(batch=minutes, covered=Spans(), derived=True)])
    rejected = Rejected(series=MINUTES, open_time=[START, None], reason=["a", "b"], raw=['x "\n\\', "\t{€"])
    again = changed(minutes, slice(5, 7), by=0.1 + 0.2)
    storage.writer.write([Delivery(batch=again, covered=minutes.runs(), rejected=rejected)])
    storage.ledger.remember_beginning(MINUTES, START - DAY)
    storage.ledger.remember_error(MINUTES, {"text": 'it\'s \\ "odd"'})
    return storage


@pytest.fixture
def dump(full: PostgreSQLStorage, shelf: Shelf) -> Backup:
    return back_up(full, shelf)


@pytest.fixture
def portable(full: PostgreSQLStorage, shelf: Shelf) -> Backup:
    return back_up(full, shelf, "portable")


def forged(backup: Backup, **changes: object) -> Backup:
    """The same backup with other words in its manifest, whose checksum is right."""
    write_manifest(replace(backup.manifest, **changes), backup.folder)
    return Backup(backup.folder)


@pytest.mark.parametrize("form", FORMS)
def test_everything_comes_back_to_the_last_bit(
    full: PostgreSQLStorage, shelf: Shelf, new_database: Callable[..., str], form: Form
) -> None:
    """Candles, segments, ledger, revisions and rejected rows; and into a database that has an empty schema too."""
    backup = back_up(full, shelf, form)
    target = new_database(empty=form == "dump")
    restore(backup, target)
    before, after = contents(full.database.conninfo), contents(target)
    assert after.series == before.series
    assert {unit.kept for of in after.series for unit in of.units} == {"rows", "both", "segment"}
    same = {"coverage", "instrument", "rejected", "revision"}
    assert {name: after.tables[name] for name in same} == {name: before.tables[name] for name in same}
    assert after.tables["revision"].rows == after.tables["rejected"].rows == 2
    with PostgreSQLStorage(target) as restored:
        more = candles(series("ETH-USDT"), 10)
        assert restored.writer.write([Delivery(batch=more, covered=more.runs())]).inserted == 10
        assert restored.get_candles("BTC-USDT", "30m").quote_volume[0] == 1e300 / 3


@pytest.mark.parametrize("form", FORMS)
def test_what_is_in_the_archive_alone_is_known_again_without_being_read(
    full: PostgreSQLStorage, shelf: Shelf, new_database: Callable[..., str], form: Form
) -> None:
    """Its file stands outside of the database, may be far away, and is no part of a backup."""
    with psycopg.connect(full.database.conninfo) as connection:
        connection.execute(
            "UPDATE chandlery.sealed SET data = NULL, archive_file = '/nowhere/1.parquet', archive_bytes = 7,"
            " archive_sha256 = 'abc', archived_at = now() WHERE NOT rows_kept"
        )
    target = new_database(empty=True)
    restore(back_up(full, shelf, form), target)
    assert contents(target).series == contents(full.database.conninfo).series
    with psycopg.connect(target) as connection:
        found = connection.execute("SELECT archive_file, archive_bytes FROM chandlery.sealed WHERE data IS NULL")
        assert found.fetchall() == [("/nowhere/1.parquet", 7)]


def test_a_verification_restores_both_forms_and_is_remembered(dump: Backup, portable: Backup) -> None:
    for backup in (dump, portable):
        assert backup.verdict is None
        assert verify(backup) == []
        assert backup.verdict is not None
        assert backup.verdict.sound


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("dump", "dump/toc.dat"),
        ("dump", "dump/*.dat.gz"),
        ("dump", MANIFEST),
        ("dump", CHECKSUM),
        ("portable", "candles/**/*.parquet"),
        ("portable", "tables/coverage.jsonl"),
        ("portable", MANIFEST),
    ],
)
def test_one_flipped_byte_is_found_and_its_file_is_named(
    full: PostgreSQLStorage, shelf: Shelf, new_database: Callable[..., str], form: Form, pattern: str
) -> None:
    backup = back_up(full, shelf, form)
    path = max(backup.folder.glob(pattern), key=lambda path: path.stat().st_size)
    flip_a_byte(path)
    [found] = verify(backup)
    assert path.name in found
    assert "damaged" in found
    target = new_database(empty=True)
    with pytest.raises(StorageError, match="damaged"):
        restore(backup, target)
    with psycopg.connect(target) as connection:
        assert connection.execute("SELECT to_regnamespace('chandlery')").fetchone() == (None,)


def test_a_missing_file_and_a_foreign_one_are_named(portable: Backup) -> None:
    folder = portable.folder
    (folder / "tables/revision.jsonl").rename(folder / "tables/other.jsonl")
    assert verify(portable) == [
        "tables/revision.jsonl is missing.",
        "tables/other.jsonl does not belong to the backup.",
    ]
    verdict = portable.verdict
    assert verdict is not None
    assert not verdict.sound


def unreadable_file(backup: Backup, _: pytest.MonkeyPatch) -> None:
    """A socket in its place: not even root can open one."""
    path = backup.folder / "tables/coverage.jsonl"
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)


def unreadable_folder(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def failing(path: str | Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "tables":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", failing)


def unreadable_manifest(backup: Backup, _: pytest.MonkeyPatch) -> None:
    (backup.folder / CHECKSUM).unlink()
    (backup.folder / CHECKSUM).mkdir()


@pytest.mark.parametrize("spoil", [unreadable_file, unreadable_folder, unreadable_manifest])
def test_what_cannot_be_read_does_not_condemn_a_backup(
    portable: Backup, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Backup, pytest.MonkeyPatch], None]
) -> None:
    """An error of a disk or a mount may pass; what prune would delete for it never comes back."""
    spoil(portable, monkeypatch)
    with pytest.raises(StorageError, match=r"cannot be read: .* verify again"):
        verify(portable)
    assert portable.verdict is None


def test_a_loss_is_found_although_every_file_has_its_checksum(dump: Backup) -> None:
    """What is restored is compared with the fingerprints, not with the files."""
    held = dump.manifest.contents
    [halves] = [of for of in held.series if of.series == HALF_HOURS]
    january, february, march = halves.units
    units = (replace(january, sha256="0" * 64), replace(february, candles=7), replace(march, kept="both"))
    believed = replace(halves, units=units, spans=Spans())
    others = tuple(of for of in held.series if of is not halves)
    tables = {**held.tables, "revision": replace(held.tables["revision"], rows=9)}
    found = verify(forged(dump, contents=Contents(series=(believed, *others), tables=tables)))
    assert found == [
        "okx BTC-USDT 30m from 2024-01-01: other candles.",
        "okx BTC-USDT 30m from 2024-02-01: 1,392 candles, not 7.",
        "okx BTC-USDT 30m from 2024-03-01: kept as rows, not as both.",
        "okx BTC-USDT 30m: the ledger knows other spans.",
        "the table revision has 2 rows, not 9.",
    ]


@pytest.mark.parametrize("form", FORMS)
def test_a_database_that_holds_anything_is_refused_and_left_alone(
    full: PostgreSQLStorage, shelf: Shelf, form: Form
) -> None:
    backup = back_up(full, shelf, form)
    before = contents(full.database.conninfo)
    with pytest.raises(ConfigurationError, match=r"is not empty: the table chandlery\.\w+ has rows"):
        restore(backup, full.database.conninfo)
    assert contents(full.database.conninfo) == before


def test_somebody_elses_view_of_an_empty_schema_is_not_dropped(dump: Backup, new_database: Callable[..., str]) -> None:
    target = new_database()
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("CREATE VIEW public.mine AS SELECT * FROM chandlery.ohlcv")
        with pytest.raises(ConfigurationError, match="the view mine uses its tables"):
            restore(dump, target)
        assert connection.execute("SELECT count(*) FROM public.mine").fetchone() == (0,)


def test_a_backup_of_a_newer_schema_is_refused(dump: Backup, new_database: Callable[..., str]) -> None:
    newer = forged(dump, versions=replace(dump.manifest.versions, schema="9999"))
    with pytest.raises(SchemaError, match="Install the newer chandlery"):
        restore(newer, new_database(empty=True))


def test_a_backup_of_an_older_schema_is_brought_to_this_programs(
    dump: Backup, new_database: Callable[..., str]
) -> None:
    """What migrations may have changed is counted, not compared; candles and ledger are compared as ever."""
    tables = {name: replace(table, sha256="") for name, table in dump.manifest.contents.tables.items()}
    older = replace(dump.manifest.versions, schema="0001")
    backup = forged(dump, versions=older, contents=replace(dump.manifest.contents, tables=tables))
    target = new_database(empty=True)
    restore(backup, target)
    with contextlib.closing(Database(target)) as database:
        assert not schema_status(database).pending


def test_what_runs_with_the_owners_rights_is_not_open_to_everybody_after_a_restore(
    dump: Backup, new_database: Callable[..., str]
) -> None:
    target = new_database(empty=True)
    restore(dump, target)
    with psycopg.connect(target) as connection:
        rows = connection.execute(
            "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'chandlery'::regnamespace"
            " AND (proacl IS NULL OR proacl::text LIKE '%{=X%' OR proacl::text LIKE '%,=X%')"
        ).fetchall()
    assert rows == []


def test_nobody_else_can_read_a_backup(dump: Backup, portable: Backup) -> None:
    for backup in (dump, portable):
        for path in [backup.folder, *backup.folder.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_backup_sees_one_moment_whatever_is_written_meanwhile(full: PostgreSQLStorage, shelf: Shelf) -> None:
    """After the snapshot is taken somebody writes and somebody seals; neither is in the backup."""
    before = contents(full.database.conninfo)
    busy = threading.Event()

    def meanwhile(_: Series) -> None:
        if not busy.is_set():
            busy.set()
            batch = candles(MINUTES, 3_000, seed=5)
            full.writer.write([Delivery(batch=batch, covered=batch.runs())])
            Sealer(full).seal(Sealer(full).entries(timeframes=["1M"])[0], before=2**42)

    backup = create_backup(full.database, shelf, form="dump", now=NOW, folders=usual_folders(), on_series=meanwhile)
    assert backup.manifest.contents == before
    assert verify(backup) == []


def test_nobody_empties_a_table_under_a_backup(full: PostgreSQLStorage) -> None:
    """A truncated table is empty for those who look at the past, too: so it has to wait."""
    with snapshot(full.database), psycopg.connect(full.database.conninfo) as other:
        other.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("TRUNCATE chandlery.candle_1m")


def test_candles_without_a_ledger_are_in_the_manifest_too(full: PostgreSQLStorage, shelf: Shelf) -> None:
    with psycopg.connect(full.database.conninfo) as connection:
        connection.execute("DELETE FROM chandlery.coverage")
    held = back_up(full, shelf).manifest.contents.series
    assert sum(of.candles for of in held) == 75 * 48 + 8 + 60 + 100
    assert {of.spans for of in held} == {Spans()}


def test_duckdbs_and_pandas_way_to_the_portable_files(portable: Backup, full: PostgreSQLStorage) -> None:
    """One file a month, doubles in columns, folders that name series: a plain Parquet reader gives the same bits."""
    import pyarrow.dataset as ds

    table = ds.dataset(portable.folder / "candles", partitioning="hive").to_table(filter=ds.field("timeframe") == "30m")
    stored = full.get_candles("BTC-USDT", "30m")
    table = table.sort_by("timestamp")
    assert np.array_equal(table["close"].to_numpy(), stored.close)
    assert table["symbol"].unique().to_pylist() == ["BTC-USDT"]


def test_the_server_and_we_reckon_the_same_fingerprint(full: PostgreSQLStorage) -> None:
    [of] = [of for of in contents(full.database.conninfo).series if of.series == HALF_HOURS]
    stored = full.reader.candles(HALF_HOURS, Span(0, 2**42))
    for unit in of.units:
        inside = (stored.open_time >= unit.span.start) & (stored.open_time < unit.span.end)
        assert fingerprint(stored.take(inside)) == unit.sha256


@pytest.fixture
def wrapped(tmp_path: Path) -> Iterator[Path]:
    """A folder with pg_dump and pg_restore that write down how they were called, and then are the real ones."""
    folder = tmp_path / "programs"
    folder.mkdir()
    real = usual_folders()[-1]
    for name in ("pg_dump", "pg_restore"):
        script = folder / name
        script.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/called"\nexec "{real}/{name}" "$@"\n')
        script.chmod(0o755)
    return folder


def test_no_secret_is_on_a_command_line(full: PostgreSQLStorage, shelf: Shelf, wrapped: Path) -> None:
    known = psycopg.conninfo.conninfo_to_dict(full.database.conninfo)
    secret = "pl anted'\"\\hunter2"
    with psycopg.connect(full.database.conninfo, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS backup_test")
        connection.execute(psycopg.sql.SQL("CREATE ROLE backup_test LOGIN PASSWORD {}").format(secret))
        connection.execute("GRANT pg_read_all_data TO backup_test")
    conninfo = psycopg.conninfo.make_conninfo(
        host=known["host"], dbname=known["dbname"], user="backup_test", password=secret
    )
    with contextlib.closing(Database(conninfo)) as database:
        backup = create_backup(database, shelf, form="dump", now=NOW, folders=[wrapped], on_series=silent)
    assert "--snapshot=" in (wrapped / "called").read_text()
    assert "hunter2" not in (wrapped / "called").read_text()
    assert "hunter2" not in (backup.folder / MANIFEST).read_text()
    with psycopg.connect(full.database.conninfo, autocommit=True) as connection:
        connection.execute("DROP ROLE backup_test")


def test_programs_older_than_the_server_are_refused_in_a_sentence(
    full: PostgreSQLStorage, shelf: Shelf, tmp_path: Path
) -> None:
    for name in ("pg_dump", "pg_restore"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"are needed; found: 9\.6\.24 in .*backup\.programs"):
        create_backup(full.database, shelf, form="dump", now=NOW, folders=[tmp_path], on_series=silent)
    assert shelf.backups() == []


def test_a_dump_that_fails_leaves_nothing_and_says_why(full: PostgreSQLStorage, shelf: Shelf, wrapped: Path) -> None:
    script = wrapped / "pg_dump"
    script.write_text(
        script.read_text().replace("exec", '[ "$1" = --version ] || { echo "disk full" >&2; exit 1; }\nexec')
    )
    with pytest.raises(DatabaseError, match="pg_dump failed: disk full"):
        create_backup(full.database, shelf, form="dump", now=NOW, folders=[wrapped], on_series=silent)
    assert [path.name for path in shelf.folder.iterdir()] == [".lock"]


def test_a_machine_that_cannot_restore_says_nothing_about_the_backup(dump: Backup, wrapped: Path) -> None:
    script = wrapped / "pg_restore"
    script.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n")
    with pytest.raises(DatabaseError, match="pg_restore failed: no space left"):
        verify_backup(dump, folders=[wrapped], now=NOW, on_series=silent)
    assert dump.verdict is None


def test_a_damaged_segment_without_rows_is_not_backed_up_as_if_it_were_sound(
    full: PostgreSQLStorage, shelf: Shelf
) -> None:
    with psycopg.connect(full.database.conninfo) as connection:
        connection.execute("UPDATE chandlery.sealed SET checksum = checksum # 1 WHERE NOT rows_kept")
    with pytest.raises(DamagedDataError, match="30m from 2024-01-01"):
        back_up(full, shelf)
    assert shelf.backups() == []


def test_what_is_not_there_is_said(shelf: Shelf) -> None:
    assert shelf.backups() == []
    with pytest.raises(DataNotFoundError, match="chandlery backup list"):
        shelf.find("latest")
    assert not shelf.folder.exists()
