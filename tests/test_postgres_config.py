"""The specification's door to the database configuration: from the environment to a connection, and no secret shown.

What every single value may be is tested in tests/unit/test_postgres_config_class.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chandlery
from postgres_config import ConfigurationError, PostgresConfig
from postgres_storage import PostgreSQLStorage
from processes import postgres_variables

SCRIPT = Path(__file__).parents[1] / "scripts" / "postgres_config.py"


@pytest.fixture
def environ(database_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The POSTGRES_* variables of a database of the test's own, set."""
    variables = postgres_variables(database_url)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def test_the_door_leads_to_the_packages_own_classes() -> None:
    assert PostgresConfig is chandlery.PostgresConfig
    assert ConfigurationError is chandlery.ConfigurationError


def test_the_environment_is_enough_to_connect(environ: dict[str, str]) -> None:
    config = PostgresConfig.from_env()
    assert config.database == environ["POSTGRES_DB"]
    with PostgreSQLStorage.from_env() as by_environment, PostgreSQLStorage.from_config(config) as by_config:
        assert by_environment.health_check()
        assert by_config.health_check()


def test_a_config_decides_about_pool_intervals_and_batches(environ: dict[str, str]) -> None:
    from_env = PostgresConfig.from_env()
    config = PostgresConfig(
        host=from_env.host,
        port=from_env.port,
        database=from_env.database,
        user=from_env.user,
        password=from_env.password,
        pool_size=1,
        max_overflow=2,
        supported_intervals=("1h",),
        batch_size=7,
    )
    with PostgreSQLStorage.from_config(config) as storage:
        assert storage.get_pool_stats()["pool_max"] == 3
        with pytest.raises(chandlery.DataValidationError, match="They are 1h"):
            storage.get_ohlcv_data("BTC-USDT", "1m")


def test_an_environment_without_a_database_is_refused_with_the_variables_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POSTGRES_USER", "quant")
    with pytest.raises(ConfigurationError, match="POSTGRES_DB is not set"):
        PostgreSQLStorage.from_env()


def test_a_password_never_shows(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")
    config = PostgresConfig.from_env()
    assert "hunter2" in config.conninfo()
    with PostgreSQLStorage.from_config(config) as storage:
        assert "hunter2" not in f"{config!r} {config} {storage!r} {storage.database!r} {storage.health_check()}"


def test_run_as_a_script_it_shows_what_it_understood_without_the_password() -> None:
    variables = {"POSTGRES_DB": "candles", "POSTGRES_USER": "quant", "POSTGRES_PASSWORD": "hunter2"}
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, SCRIPT], env=path | variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "database='candles'" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
