"""``chandlery simulate`` and ``chandlery demo``: everything on this machine, without a network or a database."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from market import MINUTE, series

from candles import START, candles
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.span import Span
from chandlery.storage.postgres import PostgreSQLStorage
from processes import REPOSITORY, Shell, as_url

DEMO_FOLDER = "/home/you/.local/share/chandlery/demo"
"""Where README says that the demo's candles lie."""


@pytest.fixture
def lonely(tmp_path: Path) -> Shell:
    """A shell that knows neither database nor exchange."""
    return Shell(folder=tmp_path, variables={})


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A folder that everybody may enter: run as root, the embedded server runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix="chandlery-demo-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_file_of_candles_is_served_and_collected_value_for_value(
    lonely: Shell, database_url: str, storage: PostgreSQLStorage
) -> None:
    recorded = candles(series("SOL-USDT"), 700)
    file = lonely.folder / "SOL-USDT_1m.csv"
    write_csv(file, recorded)
    simulating = lonely.start("simulate", file, "--port", "0")
    assert simulating.process.stdout is not None
    announced = simulating.process.stdout.readline()
    [base_url] = re.findall(r"http://127\.0\.0\.1:\d+", announced)
    try:
        collected = lonely.run(
            *("collect", "SOL-USDT", "--base-url", base_url), CHANDLERY_DATABASE_URL=as_url(database_url)
        )
    finally:
        stopped = simulating.interrupt(signal.SIGTERM)
    assert collected.code == 0, collected.text
    assert (stopped.code, stopped.err) == (0, "")
    stored = storage.reader.candles(recorded.series, Span(START, START + 700 * MINUTE))
    assert len(stored) == 700
    assert same_values(stored, recorded).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "empty"), ("time,price\n1,2\n", "has no column"), ("open_time,open,high,low,close,volume\n", "no candle")],
)
def test_a_file_that_holds_no_candles_is_refused_with_its_name(
    lonely: Shell, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    from chandlery.cli import main

    file = lonely.folder / "BTC-USDT_1m.csv"
    file.write_text(content)
    assert main(["simulate", str(file)]) == 2
    written = capsys.readouterr().err
    assert "BTC-USDT_1m.csv" in written
    assert said in written.lower()


def test_the_demo_shows_candles_and_a_second_one_fetches_only_what_is_new_whatever_is_configured(
    lonely: Shell, data_folder: Path, storage: PostgreSQLStorage, database_url: str
) -> None:
    """Made-up candles stay away from real ones, and it ends, whatever the file and the environment say."""
    first = lonely.run("demo", CHANDLERY_DATA_FOLDER=str(data_folder))
    assert first.code == 0, first.text
    assert "Complete: nothing is missing." in first.out
    assert len(re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d( +[\d.,]+){6}$", first.out, re.MULTILINE)) == 8
    assert first.out.count("100.00 %") == 6
    assert "collect BTC-USDT --timeframe 1m --since 2024-01-01" in first.out
    assert words_of(first.out.replace(str(data_folder / "demo"), DEMO_FOLDER)) == words_of(readme())

    file = lonely.folder / "own.json"
    file.write_text(json.dumps({"database": {"url": as_url(database_url)}, "data": {"output": "csv"}}))
    variables = {
        "CHANDLERY_CONFIG": str(file),
        "CHANDLERY_DATABASE_URL": as_url(database_url),
        "CHANDLERY_DATA_FOLDER": str(data_folder),
        "CHANDLERY_DATA_COLLECTION_FOLLOW_S": "60s",
    }
    second = lonely.run("demo", **variables)
    assert second.code == 0, second.text
    assert requests(first.out) > 100
    assert requests(second.out) < 20
    assert "Traceback" not in first.err + second.err
    storage.require_schema()
    assert storage.ledger.entries() == []

    [printed] = re.findall(r"^  (\S.*) chandlery serve$", second.out, re.MULTILINE)
    as_printed = dict(word.split("=", 1) for word in shlex.split(printed))
    stored = lonely.run("status", "--json", **(variables | as_printed)).json
    assert {row["exchange"] for row in stored} == {"okx-simulated"}
    assert len(stored) == 6


def readme() -> str:
    """What README shows of the demo, as printed by a program on the path."""
    [block] = re.findall(r"```text\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    return str(block).replace(".venv/bin/chandlery", "chandlery")


def words_of(written: str) -> list[list[str]]:
    """The lines of what was written, without widths, numbers, times and lengths of time."""
    numberless = re.sub(r"(?<![\w-])-?\d[\d.,:-]*", "#", written)
    return [re.sub(r"#[dhms]( #[dhms])?$", "lag", line.rstrip()).split() for line in numberless.splitlines()]


def requests(written: str) -> int:
    [count] = re.findall(r"([\d,]+) requests\.", written)
    return int(count.replace(",", ""))


def write_csv(file: Path, batch: CandleBatch) -> None:
    columns = batch.columns()
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    lines = [",".join(columns), *(",".join(map(repr, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n")
