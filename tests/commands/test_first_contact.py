"""Whoever is new, or mistypes, is told in a sentence what to do next, before much is loaded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chandlery.cli import main
from command_lines import commands, understand
from processes import REPOSITORY, Shell

NEXT_STEP = re.compile(
    r"(Try|Run|As in): chandlery|Name |Give |Correct |Swap |Say |Start |Save |Use one of|Use days|Look at the path"
    r"|it should be |such as|[Ss]ay which|must be later|Begin with|The file must be|is searched for|Did you mean"
)
HEAVY: tuple[str, ...] = ("aiohttp", "alembic", "asyncpg", "duckdb", "numpy", "pandas", "polars", "prometheus_client")
HEAVY += ("psycopg", "pyarrow", "pydantic", "sqlalchemy", "structlog")
AFTER_EACH = """
import json, sys
from chandlery.cli import main
lines, heavy = json.loads(sys.argv[1])
for line in lines:
    code, loaded = main(line.split()), [name for name in heavy if name in sys.modules]
    print(line, loaded, code, file=sys.stderr)
"""
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"

USAGE = """
bogus
--nope
statsu
show
show BTC-USDT more
show BTC-USDT --last x
show BTC-USDT --last -1
show BTC-USDT --timefram 1h
show BTC-USDT --config nowhere.json
show BTC-USDT --config broken.json
show BTC-USDT --config unknown.json
show BTC-USDT --config bytes.json
show BTC-USDT --config .
collect
collect BTC-USDT --timeframe 7m
collect BTC-USDT --timeframe 1H
collect BTC-USDT --since yesterday
collect BTC-USDT --since 2024-02-01 --until 2024-01-01
collect BTC-USDT --from 9m
collect BTC-USDT --bulk maybe
collect BTC-USDT --output tape
collect BTC-USDT --follow x
collect BTC-USDT --concurrency 0
collect BTC-USDT --base-url ftp://exchange
collect BTC-USDT --metrics-port 70000
stream
serve --port 99999
seal --timeframe 2x
seal --older-than soon
check candles.csv
check --fail-on never
import
import nowhere.csv
export
export parket
export csv
export csv out --since 2024-02-01 --until 2024-01-01
export csv out --timeframe 2x
schema
schema aply
backup
backup lst
doctor --base-url exchange
simulate nowhere.csv
simulate --speed 0
""".splitlines()[1:]

UNREACHABLE = """
show BTC-USDT
status
check
seal
export csv out
import candles.csv --symbol BTC-USDT --timeframe 1m
schema status
schema apply
""".splitlines()[1:]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with wrong configurations, and a database that nobody can reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHANDLERY_DATABASE_URL", NOWHERE)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "unknown.json").write_text('{"data": {"ouput": "csv"}}')
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "candles.csv").write_text("timestamp,open,high,low,close,volume\n1704067200000,1,2,0.5,1.5,7\n")
    return tmp_path


def one_sentence(err: str) -> str:
    """What was said on standard error: one line of ours, nothing else, with a next step in it."""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("chandlery: "), err
    assert NEXT_STEP.search(lines[0]), err
    return lines[0]


@pytest.mark.parametrize("line", USAGE)
def test_a_wrong_command_line_is_answered_with_the_next_step(
    here: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    one_sentence(capsys.readouterr().err)


@pytest.mark.parametrize("line", UNREACHABLE)
def test_a_database_that_nobody_can_reach_is_answered_with_the_next_step(
    here: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 3
    assert "chandlery doctor" in one_sentence(capsys.readouterr().err)


def test_a_process_says_the_same_as_a_call(tmp_path: Path) -> None:
    done = Shell(folder=tmp_path, variables={}).run("export", "parket")
    assert (done.code, done.out) == (2, "")
    assert one_sentence(done.err).endswith("Did you mean 'parquet'. Try: chandlery export --help")


def test_a_group_without_its_command_shows_its_help_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export"]) == 2
    shown = capsys.readouterr()
    assert shown.out.count("Examples:") == 1
    assert shown.err == "chandlery: a command has to follow. Try: chandlery export --help\n"


@pytest.mark.parametrize("name", [name for name, _ in commands() if name])
def test_the_help_of_every_command_has_examples_that_are_understood(name: str) -> None:
    [command] = [command for of, command in commands() if of == name]
    assert command.help
    examples = [line for line in (command.epilog or "").splitlines() if re.match(r"  \S*.*chandlery ", line)]
    assert any(f"chandlery {name}" in example for example in examples), command.epilog
    for example in examples:
        understand(example)


@pytest.mark.parametrize("line", ["--version", "", "--help"])
def test_whoever_is_new_waits_for_nothing_heavy(line: str) -> None:
    # typer itself needs asyncio to run a command
    heavy = (*HEAVY, "asyncio") if line == "--help" else HEAVY
    assert loaded_after([line], heavy) == [f"{line} [] 0"]


def test_the_help_of_no_command_loads_anything_heavy() -> None:
    """Not even pydantic, of which typer makes the validators of options."""
    lines = [f"{name} --help" for name, _ in commands() if name]
    assert loaded_after(lines, (*HEAVY, "asyncio")) == [f"{line} [] 0" for line in lines]


def loaded_after(lines: list[str], heavy: tuple[str, ...]) -> list[str]:
    """Each line, what of the heavy was loaded when one process had run it and those before, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", AFTER_EACH, json.dumps([lines, heavy])],
        capture_output=True,
        text=True,
        cwd=REPOSITORY / "src",
    )
    return done.stderr.splitlines()


def test_a_command_without_frames_loads_none() -> None:
    program = (
        "import sys\nfrom chandlery.cli import main\n"
        "code = main(['status'])\n"
        "print([name for name in ('pandas', 'pyarrow', 'alembic', 'aiohttp') if name in sys.modules], code)"
    )
    environment = {**os.environ, "CHANDLERY_DATABASE_URL": NOWHERE}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[] 3", done


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("chandlery exp", ["export"]),
        ("chandlery export freq", ["freqtrade"]),
        ("chandlery collect --timef", ["--timeframe"]),
        ("chandlery collect --timeframe 1m,1", ["1m,15m", "1m,12h", "1m,1M"]),
    ],
)
def test_every_shell_completes_commands_options_and_timeframes(
    tmp_path: Path, shell: str, typed: str, offered: list[str]
) -> None:
    words = typed.split()
    asked = {"_CHANDLERY_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": typed}
    asked |= {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    program = "import sys; from chandlery.cli import main; sys.argv[0] = 'chandlery'; sys.exit(main())"
    environment = {**Shell(folder=tmp_path, variables={})._clean(), **asked}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    for one in offered:
        assert one in done.stdout, done


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_calls_this_program(shell: str, tmp_path: Path) -> None:
    done = Shell(folder=tmp_path, variables={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}).run(
        "--show-completion", shell
    )
    assert done.code == 0, done
    assert "_CHANDLERY_COMPLETE" in done.out or "CHANDLERY" in done.out
