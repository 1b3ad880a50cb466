"""``seal``, ``unseal`` and what the other commands show of it: what is sealed is read and counted like rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candles import START, candles, series
from chandlery.cli import main
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span
from chandlery.storage.delivery import Delivery
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import identical
from plain_json import utc
from processes import as_url

DAY = 86_400_000
FIRST = START + 305 * DAY
"""2024-11-01 UTC."""

Run = Callable[..., str]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process and gives its output, of both kinds; it must end with the code expected."""
    monkeypatch.setenv("CHANDLERY_DATABASE_URL", as_url(database_url))

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == code
        written = capsys.readouterr()
        return written.out if "--json" in arguments else written.out + written.err

    return run


@pytest.fixture
def stored(storage: PostgreSQLStorage) -> CandleBatch:
    """November and December 2024 and a day more, in half hours."""
    batch = candles(series(interval="30m"), 62 * 48, start=FIRST)
    rounded = {name: np.round(getattr(batch, name), 2) for name in ("high", "low")}
    batch = CandleBatch.of(batch.series, {**batch.columns(), **rounded})
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])
    return batch


def only(text: str) -> Any:
    [row] = json.loads(text)
    return row


def test_what_is_sealed_is_told_counted_and_shown(run: Run, stored: CandleBatch, storage: PostgreSQLStorage) -> None:
    assert "Sealed 2 spans with 2,928 candles (" in run("seal")
    assert "Sealed 0 spans with 0 candles." in run("seal")
    row = only(run("status", "--json"))
    assert (row["candles"], row["rows"], row["sealed"], row["without_rows"]) == (2_976, 2_976, 2, 0)
    assert "Dropped 2,928 rows." in run("seal", "--drop-rows")
    row = only(run("status", "--json"))
    assert (row["candles"], row["rows"], row["sealed"], row["without_rows"]) == (2_976, 48, 2, 2)
    assert 0 < row["sealed_bytes"] < 15 * 2_928
    assert (row["first"], row["last"]) == (utc(stored.open_time[0]), utc(stored.open_time[-1]))
    assert "2 (2 without rows), " in run("status")
    shown = json.loads(run("show", "BTC-USDT", "-t", "30m", "--last", "0", "--json"))
    assert shown["close"] == stored.close.tolist()


def test_unsealed_months_are_rows_again(run: Run, stored: CandleBatch, storage: PostgreSQLStorage) -> None:
    run("seal", "BTC-USDT", "--timeframe", "30m", "--drop-rows")
    assert json.loads(run("unseal", "--until", "2024-11-30", "--json"))["candles"] == 30 * 48
    assert "Unsealed 1 spans; 1,488 candles are rows again." in run("unseal", "BTC-USDT", "--timeframe", "30m")
    row = only(run("status", "--json"))
    assert (row["rows"], row["sealed"]) == (2_976, 0)
    assert identical(storage.reader.candles(stored.series, Span(0, FIRST + 100 * DAY)), stored)


def test_only_what_is_asked_for_and_old_enough_is_sealed(run: Run, stored: CandleBatch) -> None:
    assert "Sealed 0 spans" in run("seal", "--timeframe", "1m")
    assert "Sealed 0 spans" in run("seal", "--older-than", "9999w")
    assert "is not an age. Use days or weeks" in run("seal", "--older-than", "soon", code=2)
    assert "is not a timeframe" in run("seal", "-t", "7m", code=2)


@pytest.mark.parametrize("command", ["seal", "unseal", "retain", "archive archived"])
def test_a_symbol_of_which_nothing_is_stored_is_refused(
    run: Run, stored: CandleBatch, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that runs by the clock with a mistyped symbol would seem to do its work for ever."""
    monkeypatch.chdir(tmp_path)
    told = run(*command.split(), "BTC-USDT", "BTC-USTD", code=2)
    assert told == "chandlery: no candles of BTC-USTD are stored. Did you mean BTC-USDT?\n"
    assert run(*command.split(), "btc/usdt")


def test_damage_is_found_repaired_or_given_up(run: Run, stored: CandleBatch, storage: PostgreSQLStorage) -> None:
    def spoil() -> None:
        statement = "UPDATE chandlery.sealed SET data = set_bit(data, 8000, 1 - get_bit(data, 8000))"
        storage.database.transact(lambda c: c.execute(statement))

    run("seal")
    spoil()
    assert "BTC-USDT 30m 2024-12-01 was damaged, and is sealed anew" in run("seal", "--verify")
    run("seal", "--drop-rows")
    spoil()
    assert "Run: chandlery seal BTC-USDT --timeframe 30m --verify" in run("show", "BTC-USDT", "-t", "30m", code=3)
    assert "is damaged and has no rows. To collect it again" in run("seal", "--verify", code=1)
    name = {"exchange": "okx", "symbol": "BTC-USDT", "timeframe": "30m"}
    december = {**name, "start": "2024-12-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}
    told = json.loads(run("seal", "--verify", "--json", code=1))
    assert (told["damaged"][1], told["repaired"]) == (december, [])
    assert "is given up. Run chandlery collect" in run("seal", "--refetch")
    row = only(run("status", "--json"))
    assert (row["candles"], row["sealed"], row["coverage"]) == (48, 0, 1.0)
