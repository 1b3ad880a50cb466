"""``retain`` and ``archive`` as commands: what they show, what they ask twice, and that nothing is fetched again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from market import asked, series

from chandlery.cli import main
from chandlery.simulator import Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell

COLLECT = ("collect", "BTC-USDT", "-t", "30m", "--since", "2024-01-01", "--until", "2024-02-29")
ROWS = 60 * 48
Run = Callable[..., str]


@pytest.fixture
def run(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process and gives its output, of both kinds; it must end with the code expected."""
    shell.stand_in(monkeypatch)
    monkeypatch.setenv("CHANDLERY_RETENTION_ROWS", "30m=90d")
    monkeypatch.setenv("CHANDLERY_RETENTION_SEGMENTS", "30m=26w")

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == code
        written = capsys.readouterr()
        return written.out if "--json" in arguments else written.out + written.err

    return run


@pytest.fixture
def collected(run: Run) -> None:
    """January and February 2024, both sealed; February holds the newest candle."""
    run(*COLLECT)
    run("seal")


def test_what_would_go_is_shown_and_stays(collected: None, run: Run, storage: PostgreSQLStorage) -> None:
    shown = run("retain", "--dry-run", code=1)
    assert "drop rows" in shown
    assert "rows older than 90 days, sealed" in shown
    assert "not archived; set retention.archive" in shown
    answer = json.loads(run("retain", "--dry-run", "--json", code=1))
    assert answer["dry_run"] is True
    assert [(step["action"], step["rows"], step["segments"]) for step in answer["steps"]] == [
        ("drop rows", 31 * 48, 0),
        ("keep", 0, 1),
        ("keep", 29 * 48, 0),
    ]
    assert answer["steps"][0]["start"] == "2024-01-01T00:00:00Z"
    assert json.loads(run("status", "--json"))[0]["rows"] == ROWS


def test_without_an_archive_rows_go_and_segments_stay(collected: None, run: Run) -> None:
    told = run("retain", code=1)
    assert "BTC-USDT 30m 2024-01-01 stays: not archived" in told
    assert "Dropped 1,488 rows, 0 partitions whole, and 0 segments (0 B); archived 0 files." in told
    [row] = json.loads(run("status", "--json"))
    assert (row["candles"], row["rows"], row["without_rows"], row["archived"]) == (ROWS, 29 * 48, 1, 0)


def test_what_is_archived_is_shown_and_read(
    collected: None, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run("show", "BTC-USDT", "-t", "30m", "--last", "0", "--json")
    assert "Archived 2 files with 2,880 candles" in run("archive", str(tmp_path / "first"))
    assert "2 files were there already." in run("archive", str(tmp_path / "first"))
    monkeypatch.setenv("CHANDLERY_RETENTION_ARCHIVE", str(tmp_path / "first"))
    assert "and 1 segments (" in run("retain")
    assert "2 (1 without rows, 1 archived)" in run("status")
    assert run("show", "BTC-USDT", "-t", "30m", "--last", "0", "--json") == before
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    assert "is not there. Look whether the disk is mounted" in run(
        "show", "BTC-USDT", "-t", "30m", "--last", "0", code=3
    )
    assert "Archived 0 files" in run("archive", str(tmp_path / "elsewhere"))
    assert run("show", "BTC-USDT", "-t", "30m", "--last", "0", "--json") == before


def test_candles_are_lost_only_if_that_is_said_twice_and_are_not_fetched_again(
    collected: None, run: Run, exchange: Simulator
) -> None:
    assert "--without-copy loses candles for good. See which: add --dry-run." in run("retain", "--without-copy", code=2)
    assert "drop for good" in run("retain", "--without-copy", "--dry-run")
    assert "1 months are gone for good" in run("retain", "--without-copy", "--yes-lose-them")
    assert "BTC-USDT 30m: retention dropped 2024-01-01 to 2024-02-01." in run("status")
    exchange.journal.clear()
    assert "Complete: nothing is missing." in run(*COLLECT)
    assert asked(exchange, series("BTC-USDT", "30m")) == []
    [row] = json.loads(run("status", "--json"))
    assert (row["candles"], row["coverage"], row["retired"]) == (
        29 * 48,
        1.0,
        [{"start": "2024-01-01T00:00:00Z", "end": "2024-02-01T00:00:00Z"}],
    )


def test_without_terms_everything_stays(collected: None, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANDLERY_RETENTION_ROWS")
    monkeypatch.delenv("CHANDLERY_RETENTION_SEGMENTS")
    assert "Everything is kept for ever: no retention is configured." in run("retain")
    monkeypatch.setenv("CHANDLERY_DATABASE_RETENTION_DAYS", "9999")
    assert "Nothing has served its term." in run("retain", "--dry-run")
