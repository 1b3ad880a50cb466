"""The specification's scripts, run as their users run them, with the database that the POSTGRES_* variables name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from market import assert_complete, days, series

from chandlery.simulator import Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell, postgres_variables


@pytest.fixture
def specified(exchange: Simulator, tmp_path: Path) -> Shell:
    """A shell that knows the exchange and no database."""
    return Shell(folder=tmp_path, variables={"CHANDLERY_DATA_COLLECTION_BASE_URL": exchange.base_url})


def test_the_collector_collects_once_into_the_database_of_the_environment(
    specified: Shell, exchange: Simulator, database_url: str, storage: PostgreSQLStorage
) -> None:
    done = specified.script(
        "okx_data_collector.py",
        *("--symbols", "BTC-USDT,ETH/USDT:USDT", "--timeframes", "1h,1d", "--limit", "20"),
        *("--start_time", "2024-02-28", "--end_time", "2024-02-29", "--output", "db", "--run-once", "--db-env"),
        **postgres_variables(database_url),
    )
    assert done.code == 0, done.text
    assert "Complete: nothing is missing." in done.out
    for symbol in ("BTC-USDT", "ETH-USDT-SWAP"):
        for interval in ("1h", "1d"):
            assert_complete(storage, exchange, series(symbol, interval), days(2))
    assert max(request.rows for request in exchange.journal.requests if request.bar) == 20


def test_the_collector_says_which_variable_is_missing_and_takes_no_unknown_option(specified: Shell) -> None:
    missing = specified.script("okx_data_collector.py", "--symbols", "BTC-USDT", "--run-once", "--db-env")
    assert missing.code == 2
    assert "POSTGRES_DB is not set" in missing.err
    unknown = specified.script("okx_data_collector.py", "--output", "excel")
    assert unknown.code == 2
    assert "csv" in unknown.err


def test_the_schema_is_set_up_and_may_be_set_up_again(specified: Shell, new_database: Callable[..., str]) -> None:
    url = new_database(empty=True)
    for _ in range(2):
        done = specified.script("setup_postgres_schema.py", **postgres_variables(url))
        assert done.code == 0, done.text
        assert "The schema is at revision" in done.out
    with PostgreSQLStorage(url) as storage:
        assert storage.health_check()


def test_a_wrong_password_is_told_and_not_shown(specified: Shell, database_url: str) -> None:
    variables = postgres_variables(database_url) | {"POSTGRES_PASSWORD": "hunter2"}
    done = specified.script("setup_postgres_schema.py", **variables)
    assert done.code == 3
    assert "password authentication failed" in done.err
    assert "hunter2" not in done.text
