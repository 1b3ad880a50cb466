"""``chandlery stream`` runs until it is told to stop, stores what closes, and says so in lines of JSON."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from market import MIDNIGHT, MINUTE, series, wait_until

from chandlery.domain.span import Span
from chandlery.simulator import RunningClock, SeededMarket, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from conftest import UNHURRIED
from plain_json import utc_ms
from processes import Shell, as_url

HALF_A_MINUTE = MIDNIGHT + MINUTE // 2


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    """A market whose next minute closes a few seconds from now."""
    with Simulator(SeededMarket(3), clock=RunningClock(HALF_A_MINUTE, 10.0)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def shell(database_url: str, exchange: Simulator, tmp_path: Path) -> Shell:
    variables = {
        "CHANDLERY_DATABASE_URL": as_url(database_url),
        "CHANDLERY_DATA_COLLECTION_BASE_URL": exchange.base_url,
        **UNHURRIED,
    }
    return Shell(folder=tmp_path, variables=variables)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_it_stores_what_closes_until_it_is_told_to_stop(
    shell: Shell, storage: PostgreSQLStorage, number: signal.Signals
) -> None:
    listener = psycopg.connect(storage.database.conninfo, autocommit=True)
    listener.execute("LISTEN chandlery_candles")
    streaming = shell.start("stream", "BTC-USDT", "ETH-USDT", "--json")
    covered = storage.ledger.covered
    wait_until(lambda: all(covered(series(symbol)) for symbol in ("BTC-USDT", "ETH-USDT")))

    stopped = streaming.interrupt(number, within_s=5.0)

    assert stopped.code == 0
    assert "Traceback" not in stopped.err
    lines = [json.loads(line) for line in stopped.out.splitlines()]
    assert {line["symbol"] for line in lines} == {"BTC-USDT", "ETH-USDT"}
    for line in lines:
        stored = storage.reader.candles(series(line["symbol"]), Span(utc_ms(line["start"]), utc_ms(line["end"])))
        assert len(stored) == line["candles"]
        assert stored.close[-1] == line["close"]
    with listener:
        told = [json.loads(notice.payload) for notice in listener.notifies(timeout=1.0)]
    assert sorted((one["symbol"], one["start"]) for one in told) == sorted(
        (one["symbol"], utc_ms(one["start"])) for one in lines
    )


def test_without_a_symbol_it_says_what_to_type(shell: Shell) -> None:
    done = shell.run("stream")
    assert done.code == 2
    assert "chandlery stream BTC-USDT" in done.err


def test_an_unknown_symbol_names_near_ones(shell: Shell) -> None:
    done = shell.run("stream", "BTC-USDTT")
    assert done.code == 2
    assert "BTC-USDT" in done.err
