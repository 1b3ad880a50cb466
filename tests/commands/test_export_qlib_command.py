"""``chandlery export qlib``: from stored candles to a folder, its report, and the judgement of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from candles import START, candles, series
from chandlery.cli import main
from chandlery.services.export_qlib.reading import QlibFolder
from chandlery.storage.postgres import PostgreSQLStorage
from exported import contents, store, with_holes
from processes import Shell, as_url

DAY = 86_400_000


@dataclass(frozen=True)
class Told:
    """What a command wrote."""

    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Told]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``chandlery export qlib`` in this process, in an empty folder; it must end with the code expected."""
    monkeypatch.setenv("CHANDLERY_DATABASE_URL", as_url(database_url))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Told:
        capsys.readouterr()
        assert main(["export", "qlib", *arguments]) == code
        told = capsys.readouterr()
        return Told(told.out, told.err)

    return run


@pytest.fixture
def stored(storage: PostgreSQLStorage) -> PostgreSQLStorage:
    """Days and hours of two symbols."""
    store(
        storage,
        with_holes(series("BTC-USDT", "1d"), 30, start=START),
        candles(series("BTC-USDT", "1h"), 100, start=START),
        candles(series("ETH-USDT", "1d"), 10, start=START),
    )
    return storage


def test_an_export_is_told_and_brought_up_to_date(
    shell: Shell, run: Run, stored: PostgreSQLStorage, tmp_path: Path
) -> None:
    first = shell.run("export", "qlib", "data/qlib")
    assert first.code == 0, first.text
    assert "data/qlib: new." in first.out
    assert "largest relative error: open" in first.err
    reader = QlibFolder(tmp_path / "data" / "qlib")
    assert list(reader.instruments()) == ["BTC-USDT", "ETH-USDT"]
    assert len(reader.feature("BTC-USDT", "close", "60min")) == 100

    assert "data/qlib: unchanged." in run("data/qlib").out
    store(stored, candles(series("BTC-USDT", "1d"), 5, start=START + 30 * DAY))
    assert "data/qlib: appended." in run("data/qlib").out
    store(stored, candles(series("BTC-USDT", "1d"), 5, start=START - 5 * DAY))
    assert "data/qlib: rewritten: the calendar day begins" in run("data/qlib").out


def test_the_help_shows_how_it_is_called_and_how_qlib_opens_it(run: Run) -> None:
    helped = run("--help").out
    assert helped.count("chandlery export qlib qlib-data") == 3
    assert "trade_unit=None" in helped


def test_a_part_is_exported_and_told_as_json(run: Run, stored: PostgreSQLStorage) -> None:
    told = run("q", "btc/usdt", "-t", "1h,1d", "--since", "2024-01-02", "--until", "2024-01-04", "--json").json
    rows = {row["freq"]: row for row in told["series"]}
    assert set(rows) == {"60min", "day"}
    assert rows["60min"]["candles"] == 72
    assert (rows["60min"]["first"], rows["60min"]["last"]) == ("2024-01-02T00:00:00Z", "2024-01-04T23:00:00Z")
    assert {(row["exchange"], row["symbol"], row["timeframe"]) for row in told["series"]} == {
        ("okx", "BTC-USDT", "1h"),
        ("okx", "BTC-USDT", "1d"),
    }
    assert told["outcome"] == "new"
    assert told["largest_relative_error"]["close"] < 6e-8


def test_candles_of_several_exchanges_are_kept_apart(run: Run, storage: PostgreSQLStorage) -> None:
    store(storage, candles(series("BTC-USDT", "1d", exchange="okx-demo"), 3), candles(series("BTC-USDT", "1d"), 9))
    assert run("q", "--json").json["candles"] == 9
    assert run("demo", "--exchange", "okx-demo", "--json").json["candles"] == 3


def test_a_folder_is_judged_by_exit_code(run: Run, stored: PostgreSQLStorage, tmp_path: Path) -> None:
    run("q")
    assert run("q", "--check").out == "q: 0 errors, 0 warnings.\n"
    (tmp_path / "q" / "calendars" / "1h.txt").write_text("2024-01-01\n")
    [finding] = run("q", "--check", "--json", code=1).json
    assert (finding["level"], finding["where"]) == ("error", "calendars/1h.txt")
    assert "every query of this folder fails" in run("q", "--check", code=1).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mine",), "chandlery did not export"),
        (("new", "BTC-USD"), "Did you mean BTC-USDT"),
        (("new", "-t", "7m"), "is not a timeframe"),
        (("new", "--since", "2030-01-01"), "no candle is stored"),
        (("new", "--since", "2024-01-02", "--until", "2024-01-01"), "is later than the end"),
        (("new", "--check"), "there is no folder new"),
    ],
)
def test_mistakes_are_told_and_nothing_is_touched(
    run: Run, stored: PostgreSQLStorage, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    assert told in run(*arguments, code=2).err
    assert contents(tmp_path / "mine") == {"note.txt": b"mine"}
    assert not (tmp_path / "new").exists()
