"""``show``, ``status``, ``schema`` and the help: what a person or a program reads is what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from market import MINUTE, series

from candles import candles
from chandlery.cli import main
from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import timeframe
from chandlery.simulator import Simulator
from chandlery.storage.delivery import Delivery
from chandlery.storage.postgres import PostgreSQLStorage
from handed_in import frame, opens
from plain_json import utc
from processes import Shell, as_url

Run = Callable[..., str]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process and gives its standard output; it must end with the code that is expected."""
    monkeypatch.setenv("CHANDLERY_DATABASE_URL", as_url(database_url))

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == code
        written = capsys.readouterr()
        return written.out if code == 0 else written.err

    return run


@pytest.fixture
def stored(storage: PostgreSQLStorage) -> PostgreSQLStorage:
    """Thirty candles with a hole of three."""
    with_hole = frame(30).drop(index=[10, 11, 12])
    storage.save_ohlcv_data(with_hole, "BTC-USDT", "1m")
    return storage


def test_bare_chandlery_shows_the_first_steps(shell: Shell, exchange: Simulator) -> None:
    done = shell.run()
    assert done.code == 0
    for step in ("chandlery demo", "chandlery collect BTC-USDT --since", "chandlery status", "chandlery --help"):
        assert step in done.out
    assert not exchange.journal.requests


@pytest.mark.parametrize(
    "command",
    ["collect", "show", "status", "check", "doctor", "simulate", "demo", "schema", "schema apply", "schema status"],
)
def test_the_help_of_every_command_shows_how_it_is_called(run: Run, command: str) -> None:
    helped = run(*command.split(), "--help")
    assert f"Usage: chandlery {command} " in helped
    if " " not in command:
        assert "Examples:" in helped
        assert helped.count(f"chandlery {command}") > 1


def test_the_list_of_commands_has_them_all(run: Run) -> None:
    helped = run("--help")
    for command in ("collect", "show", "status", "check", "doctor", "simulate", "demo", "schema"):
        assert f" {command} " in helped


def test_show_prints_the_newest_candles_oldest_first(run: Run, stored: PostgreSQLStorage) -> None:
    shown = run("show", "btc/usdt", "--last", "3").splitlines()
    assert [line.split()[:2] for line in shown[1:]] == [["2024-01-01", f"00:{minute}"] for minute in (27, 28, 29)]
    assert shown[-1].split()[2:] == ["129.5", "130", "128", "129", "29.25", "-"]


def test_show_takes_days_and_times_and_shows_all_if_asked(run: Run, stored: PostgreSQLStorage) -> None:
    assert len(run("show", "BTC-USDT", "--last", "0").splitlines()) == 1 + 27
    assert len(run("show", "BTC-USDT").splitlines()) == 1 + 20
    bounded = run("show", "BTC-USDT", "--since", "2024-01-01 00:05", "--until", "2024-01-01 00:09")
    assert len(bounded.splitlines()) == 1 + 5


def test_show_writes_json_that_any_program_can_read(shell: Shell, stored: PostgreSQLStorage) -> None:
    """Turnover nobody told is null: JSON knows no NaN."""
    done = shell.run("show", "BTC-USDT", "--json", "--last", "0")
    assert done.code == 0
    assert done.json["open_time"] == [utc(time) for time in opens(stored.get_ohlcv_data("BTC-USDT", "1m"))]
    assert done.json["close"][-1] == 129.0
    assert set(done.json["quote_volume"]) == {None}


def test_where_there_is_nothing_to_show_it_is_said_what_is_stored(run: Run, stored: PostgreSQLStorage) -> None:
    """An empty table would tell nothing to somebody who collected hours and named no timeframe."""
    stored.save_ohlcv_data(frame(3, timestamp=1_704_067_200_000 + 60 * MINUTE * np.arange(3)), "ETH-USDT", "1h")
    told = "No candles of ETH-USDT 1m are stored{}. Stored are 1h. Try: chandlery {} ETH-USDT --timeframe 1h\n"
    assert run("show", "ETH-USDT") == told.format("", "show")
    assert run("show", "ETH-USDT", "--until", "2024-01-01") == told.format(" in that time", "show")
    assert run("chart", "ETH-USDT") == told.format("", "chart")
    assert run("chart", "ETH-USDT", "--until", "2024-01-01") == told.format(" up to then", "chart")
    early = run("show", "BTC-USDT", "--until", "2023-01-01")
    assert early == "No candles of BTC-USDT 1m are stored in that time. See which are: chandlery status BTC-USDT\n"
    assert json.loads(run("show", "ETH-USDT", "--json"))["open_time"] == []
    assert json.loads(run("chart", "ETH-USDT", "--json"))["open_time"] == []


def test_show_of_an_unknown_symbol_names_near_ones(run: Run, stored: PostgreSQLStorage) -> None:
    assert "Did you mean BTC-USDT?" in run("show", "BTC-USD", code=2)
    assert "is not a timeframe" in run("show", "BTC-USDT", "-t", "7m", code=2)


def test_a_time_that_is_none_is_refused_by_the_name_of_its_option(run: Run, stored: PostgreSQLStorage) -> None:
    told = "the option --since is 'yesterday', which is not a time. Give one such as 2024, 2024-01, 2024-01-31 or"
    assert told in run("show", "BTC-USDT", "--since", "yesterday", code=2)
    assert "the option --until is '2024-13'" in run("export", "csv", "out", "--until", "2024-13", code=2)


def test_of_several_exchanges_okx_is_meant_and_without_it_one_has_to_be_named(
    run: Run, storage: PostgreSQLStorage
) -> None:
    """As the help of ``--exchange`` says; the hint is right on the command line and in Python."""

    def save(*exchanges: str) -> None:
        for exchange in exchanges:
            batch = candles(Series(exchange, "BTC-USDT", timeframe("1m")), len(exchange))
            storage.writer.write([Delivery(batch=batch, covered=batch.runs())])

    save("okx-demo", "elsewhere")
    refused = run("show", "BTC-USDT", code=2)
    assert "several exchanges: elsewhere, okx-demo." in refused
    assert 'Name one: --exchange NAME, or in Python exchange="NAME".' in refused
    assert len(run("show", "BTC-USDT", "--exchange", "okx-demo").splitlines()) == 1 + len("okx-demo")
    save("okx")
    assert len(run("show", "BTC-USDT").splitlines()) == 1 + len("okx")


def test_status_tells_coverage_and_gaps(shell: Shell, stored: PostgreSQLStorage, run: Run) -> None:
    done = shell.run("status", "--json")
    [row] = done.json
    assert (row["symbol"], row["timeframe"], row["candles"]) == ("BTC-USDT", "1m", 27)
    assert row["coverage"] == pytest.approx(27 / 30)
    [gap] = row["gaps"]
    first = frame(30)["timestamp"][10]
    assert (gap["start"], gap["end"]) == (utc(first), utc(first + 3 * MINUTE))
    text = run("status")
    assert "90.00 %" in text
    assert "BTC-USDT 1m" in text
    assert run("status", "ETH-USDT", "--json") == "[]\n"
    assert '"symbol": "BTC-USDT"' in run("status", "ETH-USDT,BTC-USDT", "--json")


def test_status_of_an_empty_database_says_how_to_begin(run: Run) -> None:
    assert "chandlery collect BTC-USDT" in run("status")


def test_status_without_rows_says_where_candles_go_by_the_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever collects into CSV files must not read that nothing is stored."""
    monkeypatch.setenv("CHANDLERY_DATA_OUTPUT", "csv")
    monkeypatch.setenv("CHANDLERY_DATA_CSV_FOLDER", "kept/klines")
    said = run("status")
    assert "CSV files in kept/klines" in said
    assert "chandlery check" in said
    assert "chandlery import kept/klines" in said


def test_status_names_the_symbols_of_which_nothing_is_stored(shell: Shell, stored: PostgreSQLStorage) -> None:
    several = shell.run("status", "BTC-USDT", "eth/usdt")
    assert "BTC-USDT 1m" in several.out
    assert several.err.strip() == "No candles of ETH-USDT are stored. Collect it: chandlery collect ETH-USDT"
    assert "Nothing is stored yet" not in shell.run("status", "ETH-USDT").text


def test_status_shows_what_last_went_wrong_with_a_series(
    run: Run, storage: PostgreSQLStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.ledger.remember_error(series("BTC-USDT"), {"message": "the exchange was closed"})
    assert main(["status"]) == 0
    assert "the exchange was closed" in capsys.readouterr().err


def test_the_schema_is_applied_once_and_its_state_told(
    shell: Shell, new_database: Callable[..., str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_DATABASE_URL", as_url(new_database(empty=True)))
    assert main(["schema", "status"]) == 1
    assert "from nothing to revision" in run("schema", "apply")
    assert "already" in run("schema", "apply")
    assert "as this program needs it" in run("schema", "status")
    assert '"pending": false' in run("schema", "status", "--json")


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_pipe_that_closes_early_is_no_error(shell: Shell, stored: PostgreSQLStorage, form: tuple[str, ...]) -> None:
    showing = shell.start("show", "BTC-USDT", "--last", "0", *form)
    assert showing.process.stdout is not None
    showing.process.stdout.close()
    showing.process.stdout = None
    done = showing.done()
    assert (done.code, done.err.count("Error")) == (0, 0), done.err
