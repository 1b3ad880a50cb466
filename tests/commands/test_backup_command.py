"""Backups as people make them: whole processes, a collector that goes on, a cluster that is gone, a kill in between."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from market import NOW, asked, assert_complete, days, pages_served, series, wait_until

from candles import candles
from chandlery.domain.span import Spans
from chandlery.services.backup.create import create_backup
from chandlery.services.backup.manifest import CHECKSUM, Form
from chandlery.services.backup.shelf import Shelf
from chandlery.simulator import Simulator
from chandlery.storage.client_programs import usual_folders
from chandlery.storage.delivery import Delivery
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell

SERIES = series("BTC-USDT")
FORMS: tuple[Form, Form] = ("dump", "portable")
WANTED = days(40)
"""192 pages, almost a minute at the paced rate."""
COLLECT = ("collect", "BTC-USDT", "--since", "2024-01-21")
PACED = {"CHANDLERY_DATA_COLLECTION_HISTORY_LIMIT": "8", "CHANDLERY_DATA_COLLECTION_CANDLES_LIMIT": "8"}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the embedded server's account may enter, too."""
    folder = Path(tempfile.mkdtemp(prefix="chandlery-backup-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def embedded(shell: Shell, open_folder: Path) -> Shell:
    """The same shell with a server of its own and a folder for backups."""
    variables = {name: value for name, value in shell.variables.items() if name != "CHANDLERY_DATABASE_URL"}
    own = {"CHANDLERY_DATA_FOLDER": str(open_folder / "data"), "CHANDLERY_BACKUP_FOLDER": str(open_folder / "backups")}
    return Shell(folder=shell.folder, variables=variables | own)


def test_a_cluster_that_is_gone_comes_back_and_collecting_goes_on(
    embedded: Shell, exchange: Simulator, open_folder: Path
) -> None:
    """Backed up while a collector writes; after the restore only what came after the backup is asked for."""
    collecting = embedded.start(*COLLECT, **PACED)
    wait_until(lambda: pages_served(exchange) > 5)
    made = embedded.run("backup", "create", "--json")
    assert made.code == 0, made.err
    served = pages_served(exchange)
    wait_until(lambda: pages_served(exchange) > served)
    assert collecting.interrupt(signal.SIGTERM).code == 130

    shutil.rmtree(open_folder / "data")
    restored = embedded.run("backup", "restore", "latest")
    assert restored.code == 0, restored.err
    assert "all are as they were" in restored.out
    [held] = Shelf(open_folder / "backups").find("latest").manifest.contents.series
    assert 0 < held.spans.length < WANTED.length
    assert held.candles == made.json["candles"] == held.spans.length // 60_000

    exchange.journal.clear()
    assert embedded.run(*COLLECT).code == 0
    assert Spans(asked(exchange, SERIES)) == Spans([WANTED]) - held.spans
    with EmbeddedServer(open_folder / "data") as server, PostgreSQLStorage(server.conninfo) as storage:
        assert_complete(storage, exchange, SERIES, WANTED)


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    """A pg_dump that begins, says so, and then takes for ever."""
    folder = tmp_path / "stuck"
    folder.mkdir()
    real = usual_folders()[-1]
    (folder / "pg_restore").symlink_to(real / "pg_restore")
    script = f"""#!/bin/sh
    [ "$1" = --version ] && exec "{real}/pg_dump" --version
    for one; do target="${{one#--file=}}"; [ "$target" = "$one" ] || mkdir "$target"; done
    echo $$ > "{folder}/pid.new"; mv "{folder}/pid.new" "{folder}/pid"; exec sleep 600
    """
    (folder / "pg_dump").write_text(script)
    (folder / "pg_dump").chmod(0o755)
    return folder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)])
def test_a_backup_that_was_interrupted_is_none(
    shell: Shell, storage: PostgreSQLStorage, stuck: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """It is not listed. What a kill leaves is cleared away by the next; any other signal leaves nothing."""
    folder = tmp_path / "backups"
    hold_something(storage)
    making = shell.start("backup", "create", "--folder", folder, CHANDLERY_BACKUP_PROGRAMS=str(stuck))
    wait_until((stuck / "pid").exists)
    pid = int((stuck / "pid").read_text())
    try:
        assert making.interrupt(number).code == code
        if number is signal.SIGTERM:
            assert not Path(f"/proc/{pid}").exists()
    finally:
        if number is signal.SIGKILL:
            os.kill(pid, signal.SIGKILL)
    leftovers = [path for path in folder.iterdir() if path.suffix == ".new"]
    assert len(leftovers) == (1 if number is signal.SIGKILL else 0)
    assert "There is no backup" in shell.run("backup", "list", "--folder", folder).out
    assert shell.run("backup", "create", "--folder", folder).code == 0
    assert [path for path in folder.iterdir() if path.suffix == ".new"] == []


def test_list_verify_and_prune(shell: Shell, storage: PostgreSQLStorage, tmp_path: Path) -> None:
    hold_something(storage)
    shelf = Shelf(tmp_path / "backups")
    first, second = (
        create_backup(storage.database, shelf, form=form, now=NOW, folders=usual_folders(), on_series=lambda _: None)
        for form in FORMS
    )
    where = ("--folder", shelf.folder)
    listed = shell.run("backup", "list", *where, "--json").json
    assert [(one["name"], one["form"], one["verified"]) for one in listed] == [
        (first.name, "dump", None),
        (second.name, "portable", None),
    ]
    toc = first.folder / "dump" / "toc.dat"
    toc.write_bytes(toc.read_bytes()[:-1] + b"?")
    refused = shell.run("backup", "verify", first.name, *where)
    assert refused.code == 1
    assert "dump/toc.dat is damaged" in refused.err
    assert "damaged" in shell.run("backup", "list", *where).out

    prune = ("backup", "prune", "--keep-last", "1", "--keep-daily", "0", "--keep-weekly", "0", *where, "--json")
    assert shell.run(*prune, "--dry-run").json == {"dry_run": True, "deleted": [first.name]}
    assert first.folder.exists()
    assert shell.run(*prune).json["deleted"] == [first.name]
    assert [backup.name for backup in shelf.backups()] == [second.name]

    checksum = second.folder / CHECKSUM
    checksum.unlink()
    checksum.mkdir()  # what not even root can read
    assert "cannot be read" in shell.run("backup", "list", *where).out
    [unreadable] = shell.run("backup", "list", *where, "--json").json
    assert CHECKSUM in unreadable["unreadable"]


def test_a_database_without_a_series_is_refused_and_leaves_no_backup(
    shell: Shell, storage: PostgreSQLStorage, tmp_path: Path
) -> None:
    """A nightly unit that looks into the wrong database must not report success."""
    storage.require_schema()
    for form in ((), ("--portable",)):
        refused = shell.run("backup", "create", "--folder", tmp_path / "backups", *form)
        assert refused.code == 2, refused.text
        assert "nothing to back up" in refused.err
        assert "CHANDLERY_DATABASE_URL" in refused.err
    assert "There is no backup" in shell.run("backup", "list", "--folder", tmp_path / "backups").out


def hold_something(storage: PostgreSQLStorage) -> None:
    """Five candles of one series, since a backup of nothing is refused."""
    storage.require_schema()
    batch = candles(SERIES, 5)
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])


def test_a_dump_from_elsewhere_needs_trust(shell: Shell, storage: PostgreSQLStorage, tmp_path: Path) -> None:
    """Restoring a dump runs what stands in it; the portable form is data alone."""
    hold_something(storage)
    made = shell.run("backup", "create", "--folder", tmp_path / "theirs", "--json").json
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute("DROP SCHEMA chandlery CASCADE")
    asked_for = ("backup", "restore", made["folder"], "--folder", tmp_path / "ours")
    refused = shell.run(*asked_for)
    assert refused.code == 2
    assert "--i-trust-this-backup" in refused.err
    assert "Restored 5 candles" in shell.run(*asked_for, "--i-trust-this-backup").out
    refused = shell.run(*asked_for, "--i-trust-this-backup")
    assert refused.code == 2
    assert "is not empty" in refused.err
