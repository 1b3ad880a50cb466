"""Every fenced block of the documentation is run, here or by the test that is named, or is listed with the reason.

A page that is not listed is run here, so a new block is run too, and fails if it cannot be. Lines that are indented
instead are understood by the program (``test_command_lines``).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from candles import START, candles, series
from chandlery import load_settings
from chandlery.cli import main
from chandlery.simulator import FixedClock, RunningClock, SeededMarket, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from docs.pages import PAGES, ROOT, Block, blocks
from processes import as_url

RUN_BY = {
    "docs/frames.md": ("python", "tests/frames/check_frames.py"),  # needs libraries of its own: make test-frames
    "docs/migrate-from-csv.md": ("sh", "tests/commands/test_import_and_export_commands.py"),
    "docs/operate.md": ("sh text", "tests/docs/test_operate.py"),
    "docs/qlib.md": ("python", "tests/qlib/check_qlib.py"),  # needs Qlib: make test-qlib
    "docs/reference/commands.md": ("sh", "tests/docs/test_reference.py"),  # the examples of --help
    "docs/reference/python.md": ("python", "tests/docs/test_reference.py"),  # signatures
    "docs/reference/schema.md": ("text", "tests/docs/test_reference.py"),  # signatures
    "docs/sql.md": ("sql", "tests/docs/test_examples.py"),
    "docs/tuning.md": ("text", "tests/storage/test_plans.py"),
    "docs/tutorial.md": ("sh text python", "tests/docs/test_tutorial.py"),
}
"""Pages whose blocks of some languages another test runs, or compares with what is so."""

FOLLOWS = "runs until it is stopped: tests/commands/test_follow_command.py"
STREAMS = "runs until it is stopped: tests/commands/test_stream_command.py"
RESTORES = "needs an empty database beside the full one: tests/docs/test_operate.py runs the same"
ANOTHER = "is for a machine with systemd, containers, cron or pgBackRest"
NOT_RUN = {
    ("docs/backup.md", "chandlery backup create              #"): RESTORES,
    ("docs/backup.md", "chandlery backup create --folder /mnt"): RESTORES,
    ("docs/backup.md", "SELECT symbol, timeframe"): "reads such files: tests/services/test_archiving.py",
    ("docs/backup.md", "[Service]"): ANOTHER,
    ("docs/backup.md", "# /etc/pgbackrest.conf"): ANOTHER,
    ("docs/backup.md", "# postgresql.conf"): ANOTHER,
    ("docs/backup.md", "pgbackrest"): ANOTHER,
    ("docs/commands.md", "chandlery collect BTC-USDT --timeframe 1m,1h --follow"): FOLLOWS,
    ("docs/commands.md", "chandlery status --watch"): STREAMS,
    ("docs/commands.md", "chandlery collect BTC-USDT --since"): "takes months: tests/commands/test_bulk_command.py",
    ("docs/commands.md", "chandlery simulate"): "runs until it is stopped: tests/commands/test_exchange_and_demo.py",
    ("docs/live.md", "import chandlery"): "reads for ever: tests/services/test_live.py",
    ("docs/many-machines.md", "chandlery collect"): FOLLOWS,
    ("docs/metrics.md", "chandlery stream"): "runs until it is stopped: tests/commands/test_metrics_of_commands.py",
    ("docs/own-server.md", "export CHANDLERY_DATABASE_URL"): "names a server of yours",
    ("docs/retention.md", "SELECT"): "is run by tests/services/test_archiving.py",
    ("docs/scheduling.md", "chandlery collect"): FOLLOWS,
    ("docs/scheduling.md", "docker compose"): ANOTHER,
    ("docs/scheduling.md", "# m h dom"): ANOTHER,
    ("docs/serve.md", "chandlery serve"): "runs until it is stopped: tests/commands/test_chart_and_serve_commands.py",
    ("docs/sql.md", "for stored in"): "reads for ever: tests/storage/test_announcements.py",
    ("docs/upgrade.md", "chandlery backup create"): RESTORES,
}
"""By page and the words that the block begins with: why it is not run."""

SHOWN = {
    "README.md": "what the demo printed on a day; tests/commands/test_exchange_and_demo.py compares it",
    "docs/architecture.md": "the drawing",
    "docs/reliability.md": "what long drills printed",
}
"""Pages whose blocks of ``text`` are no code."""

NOW = START + 86_400_000 + 30_000
SYMBOLS = ("BTC-USDT", "ETH-USDT", "BTC-USDT-SWAP")


def not_run(page: str, block: Block) -> str | None:
    """The reason why a block is not run here; None if it is."""
    languages, test = RUN_BY.get(page, ("", ""))
    if block.language in languages.split():
        return test
    if block.language == "{toctree}":
        return "is for the site"
    if block.language == "text" and page in SHOWN:
        return SHOWN[page]
    return next((why for (of, begins), why in NOT_RUN.items() if of == page and block.text.startswith(begins)), None)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


RUN_HERE = {
    name(page): [block for block in blocks(page) if not_run(name(page), block) is None]
    for page in PAGES
    if any(not_run(name(page), block) is None for block in blocks(page))
}


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with Simulator(SeededMarket(3), clock=FixedClock(NOW)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def punctual_exchange() -> Iterator[Simulator]:
    """One with the time of this machine, as the doctor wants it."""
    with Simulator(SeededMarket(3), clock=RunningClock(time.time_ns() // 1_000_000, 1.0)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def reader(
    storage: PostgreSQLStorage, database_url: str, exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Somebody who has collected a day of three symbols, and has files and a table of old; the database's URL."""
    storage.require_schema()
    counts = {"1m": 1440, "1h": 24, "1d": 1}
    batches = [candles(series(symbol, bar), count) for symbol in SYMBOLS for bar, count in counts.items()]
    storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])
    with psycopg.connect(database_url) as connection:
        connection.execute(
            'CREATE TABLE public.ohlcv_data AS SELECT symbol, timeframe AS "interval", timestamp, open AS open_price,'
            " high AS high_price, low AS low_price, close AS close_price, volume FROM chandlery.ohlcv"
        )
    for variable, value in {
        "DATABASE_URL": as_url(database_url),
        "DATA_COLLECTION_BASE_URL": exchange.base_url,
        "DATA_COLLECTION_BULK": "never",
        "BACKUP_FOLDER": str(tmp_path / "backups"),
        **{f"DATA_COLLECTION_{name}_LIMIT": "2000" for name in ("CANDLES", "HISTORY", "TIME")},
    }.items():
        monkeypatch.setenv(f"CHANDLERY_{variable}", value)
    monkeypatch.chdir(tmp_path)
    return as_url(database_url)


def run_sh(text: str, _url: str) -> None:
    """In this process, which is quicker; in a shell what writes into a file."""
    terminate = signal.getsignal(signal.SIGTERM)
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if ">" in words:
            subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True)
        else:
            assert words[0] == "chandlery", line
            assert main(words[1:]) == 0, line
    signal.signal(signal.SIGTERM, terminate)


def run_python(text: str, url: str) -> None:
    import chandlery

    with PostgreSQLStorage(url) as storage:
        frame = storage.get_ohlcv_data("BTC-USDT", "1m")
    exec(text.replace("postgresql://user@host/database", url), {"chandlery": chandlery, "frame": frame})


def run_sql(text: str, url: str) -> None:
    """Rolled back, since roles belong to the whole server; those that the page has made before are there."""
    with psycopg.connect(url) as connection:
        for role in re.findall(r"IN ROLE (\w+)|ALTER ROLE (\w+)", text):
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier("".join(role))))
        connection.execute(text)  # type: ignore[call-overload]
        connection.rollback()


def run_json(text: str, _url: str) -> None:
    """A configuration file."""
    Path("configuration.json").write_text(text)
    given = load_settings(Path("configuration.json"))
    assert all(hasattr(given, section) for section in json.loads(text))


RUNNERS: dict[str, Callable[[str, str], None]] = {"sh": run_sh, "python": run_python, "sql": run_sql, "json": run_json}


@pytest.mark.parametrize("page", RUN_HERE)
def test_the_blocks_of_a_page_run_in_order(
    page: str, reader: str, punctual_exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [block.text for block in RUN_HERE[page]]
    if any("chandlery import data/klines" in text for text in texts):
        assert main(["export", "csv", "data/klines"]) == 0
    if any("chandlery doctor" in text for text in texts):
        monkeypatch.setenv("CHANDLERY_DATA_COLLECTION_BASE_URL", punctual_exchange.base_url)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for block in RUN_HERE[page]:
        assert block.language in RUNNERS, f"{page} has a block of {block.language or 'no language'}: run or list it"
        RUNNERS[block.language](block.text, reader)


def test_what_is_listed_is_there() -> None:
    """A reason outlives neither its block nor the test that it names."""
    for page, (languages, test) in RUN_BY.items():
        assert {block.language for block in blocks(ROOT / page)} >= set(languages.split()), page
        assert Path(page).name in (ROOT / test).read_text() or "reference" in page, test
    for page, begins in NOT_RUN:
        assert any(block.text.startswith(begins) for block in blocks(ROOT / page)), (page, begins)
    for why in [*NOT_RUN.values(), *SHOWN.values()]:
        for test in re.findall(r"tests/\S+\.py", why):
            assert (ROOT / test).exists(), test
