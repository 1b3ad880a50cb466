"""Every command of the runbook does what the runbook says, on the trouble that its section is about."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chandlery.cli import main
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span, Spans
from chandlery.simulator import FixedClock, RunningClock, SeededMarket, Simulator
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.embedded_account import programs, server_account
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from commands.market import DAY, HOUR, MIDNIGHT, MINUTE, market_candles, series
from deployment.deployed import DEPLOY, read_yaml
from processes import as_url

PAGE = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()
TITLES = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
STORED = Span(MIDNIGHT - 29 * DAY, MIDNIGHT + HOUR)
"""February 2024, which may be sealed, and an hour more, since the newest candle is always a row."""
LOST = Span(MIDNIGHT - 2 * DAY, MIDNIGHT - 2 * DAY + HOUR)
SERIES = series("BTC-USDT")
Run = Callable[[str], None]
OURS = r"(?:\w+=\S+ )?chandlery "
COMMAND = re.compile(rf"^{OURS}.*\n|(?:^(?!{OURS}).*\n)+", re.MULTILINE)
"""A line of ours, or the lines between two of them."""


def blocks(title: str, language: str) -> list[str]:
    section = re.split(r"^## .*$", PAGE.partition(f"## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    """A made-up market that has nothing newer than what is stored."""
    with Simulator(SeededMarket(3), clock=FixedClock(STORED.end + MINUTE // 2)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def punctual_exchange() -> Iterator[Simulator]:
    """One with the time of this machine, as the doctor wants it."""
    with Simulator(SeededMarket(3), clock=RunningClock(time.time_ns() // 1_000_000, 1.0)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def server(exchange: Simulator) -> Iterator[str]:
    """A server of its own, since roles belong to a whole server; its database ``candles`` is complete."""
    folder = Path(tempfile.mkdtemp(prefix="chandlery-runbook-"))
    with EmbeddedServer(folder, durable=False) as started:
        with psycopg.connect(started.conninfo, autocommit=True) as connection:
            connection.execute("CREATE DATABASE candles")
            connection.execute("CREATE ROLE collector LOGIN")
        with PostgreSQLStorage(make_conninfo(started.conninfo, dbname="candles")) as storage:
            storage.require_schema()
            rows = market_candles(exchange, SERIES, STORED)
            batch = CandleBatch.of(SERIES, rows.columns())
            storage.writer.write([Delivery(batch=batch, covered=Spans([STORED]))])
            storage.ledger.remember_beginning(SERIES, STORED.start)
        yield started.conninfo
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """A copy of it, and an empty database ``empty`` beside it."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE copied TEMPLATE candles")
        connection.execute("CREATE DATABASE empty")
        yield make_conninfo(server, dbname="copied")
        connection.execute("DROP DATABASE copied WITH (FORCE)")
        connection.execute("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
def run(database: str, server: str, exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a block: chandlery in this process, all else in a shell."""
    environment = {
        "CHANDLERY_DATABASE_URL": as_url(database),
        "NEW_DATABASE_URL": as_url(make_conninfo(server, dbname="empty")),
        "CHANDLERY_DATA_COLLECTION_BASE_URL": exchange.base_url,
        "CHANDLERY_DATA_COLLECTION_BULK": "never",
        "CHANDLERY_BACKUP_FOLDER": str(tmp_path / "backups"),
        "PATH": f"{programs(server_account())}{os.pathsep}{os.environ['PATH']}",
        **{f"CHANDLERY_DATA_COLLECTION_{name}_LIMIT": "2000" for name in ("CANDLES", "HISTORY", "TIME")},
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(block: str) -> None:
        for command in re.findall(
            r"^(?:\w+=\S+ )?chandlery .*\n|(?:^(?!(?:\w+=\S+ )?chandlery ).*\n)+", block, re.MULTILINE
        ):
            if re.match(OURS, command):
                _run_here(command, monkeypatch)
            else:
                subprocess.run(["bash", "-euo", "pipefail", "-c", command], check=True)

    return run


def _run_here(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line, _, code = command.strip().partition(" # exit code ")
    words = shlex.split(line)
    terminate = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as changed:
        while "=" in words[0]:
            name, _, given = words.pop(0).partition("=")
            changed.setenv(name, os.path.expandvars(given))
        assert main(words[1:]) == int(code or 0), line
    signal.signal(signal.SIGTERM, terminate)


def _lose_an_hour(database: str) -> None:
    with psycopg.connect(database) as connection:
        span = [LOST.start, LOST.end]
        bounds = "to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0)"
        connection.execute(f"DELETE FROM chandlery.candle_1m WHERE tstzrange({bounds}) @> open_time", span)
        connection.execute(f"UPDATE chandlery.coverage SET spans = spans - tstzmultirange(tstzrange({bounds}))", span)


def _damage_a_segment(database: str) -> None:
    assert main(["seal", "--drop-rows"]) == 0
    with psycopg.connect(database) as connection:
        done = connection.execute("UPDATE chandlery.sealed SET data = set_byte(data, 5000, get_byte(data, 5000) # 1)")
        assert done.rowcount == 1


TROUBLES = {"A gap was found": _lose_an_hour, "A sealed segment is damaged": _damage_a_segment}
EXECUTED = [title for title in TITLES if blocks(title, "sh")]


@pytest.mark.parametrize("title", EXECUTED)
def test_every_command_of_the_section_works(
    title: str, run: Run, database: str, server: str, punctual_exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if title in TROUBLES:
        TROUBLES[title](database)
    if any("chandlery doctor" in block for block in blocks(title, "sh")):
        monkeypatch.setenv("CHANDLERY_DATA_COLLECTION_BASE_URL", punctual_exchange.base_url)
    for block in blocks(title, "sh"):
        run(block)
    for name in ("copied", "empty") if "NEW_DATABASE_URL" in "".join(blocks(title, "sh")) else ("copied",):
        with PostgreSQLStorage(make_conninfo(server, dbname=name)) as storage:
            assert not Spans([STORED]) - storage.ledger.covered(SERIES), f"candles are missing in {name}"
            assert len(storage.reader.candles(SERIES, STORED)) == STORED.length // MINUTE


def test_a_changed_password_lets_in(run: Run, database: str) -> None:
    run(blocks("Changing the password", "sh")[0])
    password = Path("password").read_text().strip()
    psycopg.connect(make_conninfo(database, user="collector", passfile="", password=password)).close()


def test_an_added_reader_reads_and_changes_nothing(run: Run, server: str, database: str) -> None:
    run(blocks("Adding a reader", "sh")[0].replace("analyst", "second_analyst"))
    with psycopg.connect(database) as connection:
        connection.execute("SET ROLE second_analyst")
        assert connection.execute("SELECT FROM chandlery.ohlcv LIMIT 1").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM chandlery.candle_1m")


def test_units_and_services_that_the_page_names_exist() -> None:
    units = {path.stem for path in (DEPLOY / "systemd").glob("*.service")}
    services = set(read_yaml("compose.yaml")["services"])
    commands = [line for title in TITLES for block in blocks(title, "text") for line in block.splitlines()]
    commands += re.findall(r"^(?:docker|systemctl|journalctl) .*$", PAGE, re.MULTILINE)
    for command in commands:
        named = {word for word in re.split(r"[ =:]", command) if word in units | services}
        assert named, command
        assert not command.startswith("docker") or named & services
