"""``chandlery check`` as people and pipelines meet it: exit codes, text, JSON, repair; on the database and on files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from market import DAY, MIDNIGHT, MINUTE, assert_complete, days, series

from chandlery.cli import main
from chandlery.domain.span import Span
from chandlery.simulator import Simulator
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell

BTC = series("BTC-USDT")
A_DAY = ("--since", "2024-02-29", "--until", "2024-02-29")
NOON = MIDNIGHT - DAY // 2


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def run(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, for a process of its own takes most of a test's time."""
    shell.stand_in(monkeypatch)

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        return Said(main(list(arguments)), *capsys.readouterr())

    return run


def deleted(storage: PostgreSQLStorage, minutes: int) -> None:
    """Take candles from noon on away, behind the back of the ledger."""
    statement = "DELETE FROM chandlery.candle WHERE open_time >= to_timestamp(%s) AND open_time < to_timestamp(%s)"
    bounds = [NOON / 1000, NOON / 1000 + 60 * minutes]
    storage.database.transact(lambda connection: connection.execute(statement, bounds))


def test_where_nothing_is_stored_nothing_was_checked(run: Run, tmp_path: Path) -> None:
    """A folder that was mistyped must not pass for one in which all is well."""
    checked = run("check")
    assert (checked.code, checked.out) == (2, "")
    assert "there is nothing to check in the database. Collect first: chandlery collect BTC-USDT" in checked.err
    (tmp_path / "empty").mkdir()
    for folder in ("no-such-folder", "empty"):
        checked = run("check", "--output", "csv", "--csv-folder", folder, "--json")
        assert (checked.code, checked.out) == (2, "")
        assert f"nothing to check in {folder}. Look at --csv-folder, or collect first." in checked.err


def test_what_was_collected_is_in_order(run: Run, shell: Shell) -> None:
    run("collect", "BTC-USDT", "-t", "1m,1h", *A_DAY)
    checked = shell.run("check", *A_DAY, "--fail-on", "info")
    assert checked.code == 0, checked.text
    assert checked.out.count("100.00 %") == 2
    assert "Nothing found in 2 series." in checked.out


def test_json_has_every_series_and_every_finding(run: Run, storage: PostgreSQLStorage) -> None:
    run("collect", "BTC-USDT", *A_DAY)
    deleted(storage, 20)
    checked = run("check", "BTC-USDT", *A_DAY, "--json")
    name = {"exchange": "okx-simulated", "symbol": "BTC-USDT", "timeframe": "1m"}
    assert checked.json.keys() == {"worst", "series", "findings", "repair"}
    assert (checked.json["worst"], checked.json["repair"]) == ("warning", None)
    assert checked.json["series"] == [
        {
            **name,
            "start": "2024-02-29T00:00:00Z",
            "end": "2024-03-01T00:00:00Z",
            "candles": 1_420,
            "coverage": 1_420 / 1_440,
            "findings": {"gap-missing-rows": 1},
        }
    ]
    [found] = checked.json["findings"]
    assert found.pop("message")
    assert "--repair" in found.pop("advice")
    assert found == {
        "rule": "gap-missing-rows",
        "severity": "warning",
        "series": [name],
        "start": "2024-02-29T12:00:00Z",
        "end": "2024-02-29T12:20:00Z",
        "count": 20,
    }


def test_a_pipeline_stops_on_the_severity_that_it_names(run: Run, storage: PostgreSQLStorage) -> None:
    run("collect", "BTC-USDT", *A_DAY)
    deleted(storage, 20)
    codes = {least: run("check", *A_DAY, "--fail-on", least).code for least in ("error", "warning")}
    assert codes == {"error": 0, "warning": 1}
    gap = run("check", "--since", "2024-02-28", "--until", "2024-02-29")
    assert gap.code == 1
    assert "gap-uncovered" in gap.out


def test_a_repair_brings_back_what_was_deleted_and_shows_before_and_after(
    run: Run, shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    run("collect", "BTC-USDT", "ETH-USDT", *A_DAY)
    deleted(storage, 400)
    asked = len(exchange.journal.requests)
    repaired = shell.run("check", "--since", "2024-02-28", "--until", "2024-02-29", "--repair", "--fail-on", "warning")
    assert repaired.code == 0, repaired.text
    assert "3,680 new" in repaired.out, "of each instrument a day that was never asked for, and 400 minutes"
    assert "before" in repaired.out
    for of in (BTC, series("ETH-USDT")):
        assert_complete(storage, exchange, of, days(2))
    pages = [r for r in list(exchange.journal.requests)[asked:] if r.before]
    assert sum(int(r.after) - int(r.before) - 1 for r in pages) == 3_680 * MINUTE, "only what is doubtful is asked for"


def test_bars_rolled_up_from_what_a_repair_changed_are_repaired_too(run: Run, storage: PostgreSQLStorage) -> None:
    run("collect", "BTC-USDT", *A_DAY)
    higher = "UPDATE chandlery.candle SET high = high * 3 WHERE open_time = to_timestamp(%s)"
    storage.database.transact(lambda connection: connection.execute(higher, [NOON / 1000]))
    run("collect", "BTC-USDT", "-t", "1h", "--from", "1m", *A_DAY)
    repaired = run("check", *A_DAY, "--repair", "--fail-on", "warning", "--json")
    assert repaired.json["repair"]["before"] == {"price-spike": 1}
    assert (repaired.code, repaired.json["worst"]) == (0, "info"), repaired.out
    [hour] = storage.reader.candles(series("BTC-USDT", "1h"), Span(NOON, NOON + 60 * MINUTE)).high
    assert hour < 2 * storage.reader.candles(BTC, Span(NOON, NOON + MINUTE)).high[0]


def test_files_are_checked_and_repaired_too(run: Run, exchange: Simulator, tmp_path: Path) -> None:
    run("collect", "BTC-USDT", *A_DAY, "--output", "csv")
    files = CsvStore(tmp_path / "data" / "klines")
    path = files.path(BTC)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:100] + lines[130:]))
    in_files = ("--output", "csv", *A_DAY)
    checked = run("check", *in_files)
    assert (checked.code, "30 bars without a row" in checked.out) == (1, True)
    assert run("check", *in_files, "--repair").code == 0
    assert path.read_text().splitlines(keepends=True) == lines


def test_where_candles_go_to_both_stores_both_are_repaired(
    run: Run, storage: PostgreSQLStorage, tmp_path: Path
) -> None:
    both = ("--output", "both", *A_DAY)
    run("collect", "BTC-USDT", "-t", "4h", *both)
    file = CsvStore(tmp_path / "data" / "klines").path(series("BTC-USDT", "4h"))
    good = file.read_text()
    [_, first, *_] = lines = good.splitlines(keepends=True)
    fields = first.split(",")
    fields[2] = f"{float(fields[2]) + 1:g}"
    file.write_text("".join([lines[0], ",".join(fields), *lines[2:]]))
    statement = "UPDATE chandlery.candle SET high = high + 1 WHERE open_time = to_timestamp(%s)"
    storage.database.transact(lambda connection: connection.execute(statement, [(MIDNIGHT - DAY) / 1000]))
    repaired = run("check", *both, "--compare-exchange", "6", "--repair", "--json")
    assert repaired.json["repair"]["before"] == {"exchange-mismatch": 1}
    assert file.read_text() == good


def test_a_sample_is_compared_with_the_exchange(run: Run, storage: PostgreSQLStorage) -> None:
    span = Span(MIDNIGHT - DAY, MIDNIGHT)
    run("collect", "BTC-USDT", "-t", "4h", *A_DAY)
    assert run("check", *A_DAY, "--compare-exchange", "2", "--fail-on", "info").code == 0
    statement = "UPDATE chandlery.candle SET high = high + 1 WHERE open_time = to_timestamp(%s)"
    storage.database.transact(lambda connection: connection.execute(statement, [span.start / 1000]))
    checked = run("check", *A_DAY, "--compare-exchange", "6", "--repair", "--json")
    assert checked.json["repair"]["before"] == {"exchange-mismatch": 1}
    assert checked.json["findings"][0]["rule"] == "revision"
    assert checked.code == 0


def test_a_file_of_others_needs_no_store(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_DATABASE_URL", "postgresql://no@where/x")
    rows = [f"{MIDNIGHT + n * MINUTE},1,2,3,0.5,7" for n in range(90) if n not in range(30, 40)]
    (tmp_path / "theirs.csv").write_text("\n".join(rows))
    columns = ("--columns", "ts,open,close,high,low,volume")
    checked = run("check", "theirs.csv", "-t", "1m", *columns)
    assert checked.code == 1, checked.text
    assert "10 bars without a row" in checked.out


def test_files_are_read_whatever_their_suffix_is_written_in(run: Run, tmp_path: Path) -> None:
    text = "ts,open,high,low,close,volume\n" + "\n".join(f"{MIDNIGHT + n * MINUTE},1,2,0.5,1.5,7" for n in range(9))
    (tmp_path / "A.CSV").write_text(text)
    for name in ("b.csv.gz", "C.CSV.GZ"):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    for name in ("d.csv.zst", "D.CSV.ZST"):
        (tmp_path / name).write_bytes(pa.compress(text.encode(), codec="zstd", asbytes=True))
    for path in tmp_path.glob("*.*"):
        checked = run("check", path.name, "-t", "1m", "--json")
        assert (checked.code, checked.err) == (0, ""), path
        assert checked.json["series"][0]["candles"] == 9


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("candles.parquet", "Give it such a name if it holds CSV, or try: chandlery import candles.parquet --dry-run"),
        ("theirs.csv.zip", "Try: chandlery import theirs.csv.zip --dry-run"),
        ("klines/", "klines/ is a folder, neither a symbol nor a CSV file. Try: chandlery check --output csv"),
        ("old.csv/", "Try: chandlery check --output csv --csv-folder old.csv"),
    ],
)
def test_a_path_that_cannot_be_checked_is_not_taken_for_a_symbol(
    run: Run, tmp_path: Path, name: str, step: str
) -> None:
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.write_text("PAR1")
    checked = run("check", name)
    assert (checked.code, step in checked.err) == (2, True), checked.err


def test_a_folder_that_is_called_like_a_symbol_does_not_hide_it(run: Run, tmp_path: Path) -> None:
    run("collect", "BTC-USDT", *A_DAY)
    (tmp_path / "BTC-USDT").mkdir()
    assert run("check", "BTC-USDT", *A_DAY).code == 0


def test_what_makes_no_sense_is_a_usage_error_with_the_next_step(run: Run, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("a,b\n1,2\n")
    run("collect", "BTC-USDT", *A_DAY)
    for arguments, sentence in (
        (["--fail-on", "never"], "--fail-on is error, warning or info"),
        (["--columns", "open"], "--columns is for a CSV file"),
        (["some.csv"], "say which, as in --timeframe 1m"),
        (["some.csv", "-t", "1m"], "columns are missing"),
        (["some.csv", "-t", "1m", "--repair"], "are for stores"),
        (["DOGE-USDT"], "no candles of DOGE-USDT are stored"),
        (["BTC-USDT", "-t", "1d"], "no candles in 1d are stored"),
    ):
        checked = run("check", *arguments)
        assert (checked.code, sentence in checked.err) == (2, True), checked.text
    missing = run("check", "none.csv", "-t", "1m")
    assert (missing.code, "cannot be read" in missing.err) == (3, True)


def test_an_exchange_that_is_away_fails_a_repair_and_no_check(
    run: Run, storage: PostgreSQLStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("collect", "BTC-USDT", *A_DAY)
    deleted(storage, 20)
    monkeypatch.setenv("CHANDLERY_DATA_COLLECTION_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CHANDLERY_DATA_COLLECTION_ATTEMPTS", "1")
    assert run("check", *A_DAY).code == 0
    assert run("check", *A_DAY, "--repair").code == 4
