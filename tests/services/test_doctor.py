"""``chandlery doctor`` looks at what is really there, and says what to do about each thing that is not well."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chandlery.services.doctor import diagnose
from chandlery.settings import load_settings
from chandlery.simulator import FixedClock, RealClock, SeededMarket, Simulator
from chandlery.simulator.clock import Clock
from chandlery.storage.database import Database
from chandlery.storage.health import Check
from chandlery.storage.postgres import PostgreSQLStorage
from processes import as_url


def examined(database_url: str, clock: Clock | None = None, **overrides: object) -> dict[str, Check]:
    """The checks by name, against a simulator with this clock, or without any exchange."""
    given = {"database.url": as_url(database_url), "data_collection.base_url": "http://127.0.0.1:9"} | overrides
    if clock is None:
        return {c.name: c for c in asyncio.run(diagnose(load_settings(environ={}, overrides=given)))}
    with Simulator(SeededMarket(1, ["BTC-USDT"]), clock=clock).run_in_thread() as exchange:
        given["data_collection.base_url"] = exchange.base_url
        return {c.name: c for c in asyncio.run(diagnose(load_settings(environ={}, overrides=given)))}


def test_all_is_well_where_all_is_well(database_url: str) -> None:
    checks = examined(database_url, RealClock())
    assert list(checks) == [
        "configuration",
        "connection",
        "server",
        "permissions",
        "schema",
        "disk",
        "exchange",
        "clock",
        "rate limits",
    ]
    assert all(check.ok for check in checks.values()), checks
    assert "history-candles 9/s" in checks["rate limits"].found


def test_an_exchange_that_is_away_is_named_with_the_next_step(database_url: str) -> None:
    checks = examined(database_url)
    assert not checks["exchange"].ok
    assert checks["exchange"].hint
    assert checks["connection"].ok


def test_a_clock_that_is_off_is_told(database_url: str) -> None:
    clock = examined(database_url, FixedClock(RealClock().now() - 3_600_000))["clock"]
    assert not clock.ok
    assert "behind" in clock.found
    assert "NTP" in clock.hint


def test_another_schema_is_told(database_url: str) -> None:
    database = Database(database_url)
    database.transact(lambda c: c.execute("UPDATE chandlery.schema_version SET version_num = '0000'"))
    database.close()
    schema = examined(database_url)["schema"]
    assert not schema.ok
    assert "chandlery schema apply" in schema.hint


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    nowhere = "host=127.0.0.1 port=9 dbname=nothing user=nobody"
    checks = examined(nowhere, **{"database.url": "postgresql://nobody@127.0.0.1:9/nothing"})
    assert not checks["connection"].ok
    assert "schema" not in checks


def test_health_check_says_the_same(database_url: str) -> None:
    """``health_check()`` and the doctor share their code."""
    with PostgreSQLStorage(database_url) as storage:
        health = storage.health_check()
    assert health
    assert {check.name for check in health.checks} == {"connection", "server", "permissions", "schema"}
    assert health.latency_ms is not None
    broken = PostgreSQLStorage("host=127.0.0.1 port=9 dbname=nothing user=nobody").health_check()
    assert not broken
    assert [problem.name for problem in broken.problems] == ["connection"]


@pytest.mark.parametrize("output", ["csv", "both"])
def test_the_folder_of_files_is_looked_at_if_used(output: str, database_url: str, tmp_path: Path) -> None:
    checks = examined(database_url, **{"data.output": output, "data.csv_folder": str(tmp_path)})
    assert str(tmp_path) in checks["disk"].found
    assert ("connection" in checks) == (output == "both")
