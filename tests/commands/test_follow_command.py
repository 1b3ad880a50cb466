"""``chandlery collect --follow``: round after round as bars close, through outages, until it is told to stop."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from market import MIDNIGHT, MINUTE, assert_complete, series, wait_until

from chandlery.domain.span import Span
from chandlery.simulator import FaultKind, RunningClock, SeededMarket, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from conftest import UNHURRIED
from processes import Shell, as_url, postgres_variables

SERIES = series("BTC-USDT")
SINCE = MIDNIGHT - 10 * MINUTE
FOLLOW = ("collect", "BTC-USDT", "--since", "2024-02-29T23:50:00", "--follow", "1s")


@pytest.fixture
def fast_exchange() -> Iterator[Simulator]:
    """Its clock runs a minute a second from 2024-03-01 on."""
    with Simulator(SeededMarket(3), clock=RunningClock(MIDNIGHT, 60.0)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def shell(database_url: str, fast_exchange: Simulator, tmp_path: Path) -> Shell:
    variables = {
        "CHANDLERY_DATABASE_URL": as_url(database_url),
        "CHANDLERY_DATA_COLLECTION_BASE_URL": fast_exchange.base_url,
        "CHANDLERY_DATA_COLLECTION_ATTEMPTS": "1",
        **UNHURRIED,
    }
    return Shell(folder=tmp_path, variables=variables)


def covered_until(storage: PostgreSQLStorage) -> int:
    hull = storage.ledger.covered(SERIES).hull
    return hull.end if hull else 0


def wait_for_another_bar(storage: PostgreSQLStorage) -> None:
    seen = covered_until(storage)
    wait_until(lambda: covered_until(storage) > seen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_every_bar_is_stored_as_it_closes_until_a_signal_which_is_no_failure(
    shell: Shell, fast_exchange: Simulator, storage: PostgreSQLStorage, number: signal.Signals
) -> None:
    following = shell.start(*FOLLOW, "--json")
    for _ in range(3):
        wait_for_another_bar(storage)
    stopped = following.interrupt(number, within_s=5.0)
    assert stopped.code == 0, stopped.text
    assert "Traceback" not in stopped.err
    rounds = [json.loads(line) for line in stopped.out.splitlines()]
    assert [one["round"] for one in rounds] == [*range(1, len(rounds) + 1)]
    assert rounds[0]["series"][0]["inserted"] >= 10
    assert sum(one["series"][0]["inserted"] for one in rounds if one["series"]) == len(
        storage.get_candles("BTC-USDT", "1m")
    )
    assert_complete(storage, fast_exchange, SERIES, Span(SINCE, covered_until(storage)))


def test_an_exchange_that_is_away_is_told_once_and_waited_for(
    shell: Shell, fast_exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    following = shell.start(*FOLLOW)
    wait_for_another_bar(storage)
    fast_exchange.journal.clear()
    fast_exchange.arm(FaultKind.UNAVAILABLE, count=1_000)
    wait_until(lambda: sum(1 for request in fast_exchange.journal.requests if request.fault) > 3)
    fast_exchange.disarm()
    wait_for_another_bar(storage)
    wait_for_another_bar(storage)
    stopped = following.interrupt(signal.SIGTERM, within_s=5.0)
    assert stopped.code == 0, stopped.text
    assert stopped.err.count("It works again.") == 1
    complaints = [line for line in stopped.err.splitlines() if line.startswith("chandlery:")]
    assert len(complaints) == len(set(complaints)) > 0
    assert "new candles in 1 of 1 series" in stopped.out
    assert_complete(storage, fast_exchange, SERIES, Span(SINCE, covered_until(storage)))


def test_an_exchange_that_is_away_at_the_start_is_waited_for_by_the_specifications_door(
    shell: Shell, fast_exchange: Simulator, storage: PostgreSQLStorage, database_url: str
) -> None:
    fast_exchange.arm(FaultKind.UNAVAILABLE, count=1_000)
    door = Shell(folder=shell.folder, variables=dict(shell.variables) | {"CHANDLERY_DATABASE_URL": ""})
    collecting = door.start_script(
        "okx_data_collector.py",
        *("--symbols", "BTC-USDT", "--start_time", "2024-02-29", "--output", "db", "--db-env"),
        **postgres_variables(database_url),
    )
    wait_until(lambda: any(request.fault for request in fast_exchange.journal.requests))
    stopped = collecting.interrupt(signal.SIGTERM, within_s=5.0)
    assert stopped.code == 0, stopped.text
    assert "Traceback" not in stopped.err


def test_a_symbol_that_does_not_exist_ends_it_with_the_codes_of_a_collection(shell: Shell) -> None:
    done = shell.run("collect", "BTC-USDX", "--follow", "1s")
    assert done.code == 2
    assert "does not list BTC-USDX" in done.err


@pytest.mark.parametrize("value", ["fast", "-5", "0.5s", "2d"])
def test_a_time_that_is_none_is_refused_in_a_sentence(shell: Shell, value: str) -> None:
    done = shell.run("collect", "BTC-USDT", f"--follow={value}")
    assert done.code == 2
    assert "such as 60s, 5m or 1h" in done.err
