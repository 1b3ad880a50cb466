"""``--json`` of every command writes times in one form under the same names, as docs/commands.md promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

from chandlery.cli import main
from chandlery.cli.app import app
from plain_json import assert_plain
from processes import Shell

Run = Callable[[str], Any]

JANUARY = "collect BTC-USDT -t 30m --since 2024-01-01 --until 2024-01-31"
FEBRUARY = "collect BTC-USDT -t 30m --since 2024-02-02 --until 2024-02-29"
ELSEWHERE = {"backup restore", "backup verify", "stream"}
"""They start servers, or run until they are stopped; tests of their own read what they write by the same rules."""

EVERYWHERE = (
    *(JANUARY, FEBRUARY, "show BTC-USDT -t 30m", "chart BTC-USDT", "check", "status", "seal --drop-rows", "unseal"),
    *("archive archived", "retain --dry-run", "doctor", "doctor --tune", "schema status", "export qlib qlib"),
    *("export qlib qlib --check", "export csv csv", "export parquet exported", "export arrow exported"),
    *("export freqtrade freqtrade", "import csv/okx-simulated/BTC-USDT_30m.csv --exchange okx-simulated"),
    *("backup create --portable --folder kept", "backup list --folder kept", "backup prune --folder kept"),
)
HOLD_TIMES = {JANUARY, FEBRUARY, "show BTC-USDT -t 30m", "check", "status", "export qlib qlib", "retain --dry-run"}


@pytest.fixture
def run(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, where retention has something to do, and gives what it wrote as JSON."""
    shell.stand_in(monkeypatch)
    monkeypatch.setenv("CHANDLERY_RETENTION_ROWS", "30m=90d")

    def run(line: str) -> Any:
        capsys.readouterr()
        assert main([*line.split(), "--json"]) in (0, 1), capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


def test_every_command_writes_times_alike(run: Run) -> None:
    for line in EVERYWHERE:
        written = run(line)
        assert_plain(written)
        assert (":00:00Z" in json.dumps(written)) >= (line in HOLD_TIMES), line


def test_no_command_is_left_out() -> None:
    walked = {path for path in _with_json() if any(line.startswith(path) for line in EVERYWHERE)}
    assert set(_with_json()) - walked == ELSEWHERE


def _with_json() -> Iterator[str]:
    def below(path: str, command: Any) -> Iterator[str]:
        if any(parameter.name == "json" for parameter in command.params):
            yield path
        for name, sub in getattr(command, "commands", {}).items():
            yield from below(f"{path} {name}".strip(), sub)

    return below("", typer.main.get_command(app))
