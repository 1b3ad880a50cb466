from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import ConfigurationError
from chandlery.storage.config import PostgresConfig


def config(**changes: Any) -> PostgresConfig:
    return PostgresConfig(**{"database": "candles", "user": "quant", "password": "hunter2", **changes})


def test_the_defaults_suit_a_server_on_this_machine() -> None:
    given_nothing = config()
    assert (given_nothing.host, given_nothing.port, given_nothing.ssl_mode) == ("localhost", 5432, "prefer")
    assert given_nothing.supported_intervals == tuple(TIMEFRAMES)
    assert given_nothing.retention_days is None


def test_it_cannot_be_changed_and_the_password_shows_nowhere() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().host = "elsewhere"  # type: ignore[misc]
    assert "hunter2" not in f"{config()!r} {config()} {[config()]}"
    assert "password='***'" in repr(config())


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("localhost", "prefer"),
        ("127.0.0.1", "prefer"),
        ("::1", "prefer"),
        ("/run/postgresql", "prefer"),
        ("db.example.org", "verify-full"),
        ("localhost,db.example.org", "verify-full"),
        ("localhost.example.org", "verify-full"),
    ],
)
def test_a_server_elsewhere_must_prove_who_it_is_unless_told_otherwise(host: str, mode: str) -> None:
    assert config(host=host).ssl_mode == mode
    assert config(host=host, ssl_mode="require").ssl_mode == "require"


@pytest.mark.parametrize(
    "changes",
    [
        {"host": ""},
        {"database": ""},
        {"user": None},
        {"password": "with\0nul"},
        {"user": "\udc80"},
        {"port": 0},
        {"port": 65_536},
        {"port": "5432"},
        {"port": True},
        {"ssl_mode": "maybe"},
        {"pool_size": 0},
        {"max_overflow": -1},
        {"pool_timeout": 0},
        {"pool_timeout": float("nan")},
        {"pool_recycle": float("inf")},
        {"batch_size": 0},
        {"retention_days": 0},
        {"supported_intervals": ()},
        {"supported_intervals": "1m"},
        {"supported_intervals": [["1m"]]},
    ],
)
def test_an_impossible_value_is_refused_with_its_name_and_without_the_password(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config(**changes)
    assert next(iter(changes)) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.hint


def test_an_unknown_interval_is_refused_with_the_list_of_those_supported() -> None:
    with pytest.raises(ConfigurationError, match=r"7m.*Supported: 1m, 3m, .* 1M"):
        config(supported_intervals=["1m", "7m"])


def test_the_environment_is_read_under_the_usual_names() -> None:
    environ = {
        "POSTGRES_HOST": "db.example.org",
        "POSTGRES_PORT": "6543",
        "POSTGRES_DB": "candles",
        "POSTGRES_USER": "quant",
        "POSTGRES_PASSWORD": "hunter2",
        "POSTGRES_SSL_MODE": "require",
    }
    assert PostgresConfig.from_env(environ) == config(host="db.example.org", port=6543, ssl_mode="require")


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DB", "candles")
    monkeypatch.setenv("POSTGRES_USER", "quant")
    assert PostgresConfig.from_env().database == "candles"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"POSTGRES_USER": "u"}, "POSTGRES_DB"),
        ({"POSTGRES_DB": "d", "POSTGRES_USER": ""}, "POSTGRES_USER"),
        ({"POSTGRES_DB": "d", "POSTGRES_USER": "u", "POSTGRES_PORT": "http"}, "POSTGRES_PORT"),
        ({"POSTGRES_DB": "d", "POSTGRES_USER": "u", "POSTGRES_PORT": "٥٤٣٢"}, "POSTGRES_PORT"),
    ],
)
def test_a_variable_that_is_absent_or_wrong_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        PostgresConfig.from_env(environ)


def test_a_url_gives_every_part_and_keeps_further_parameters() -> None:
    url = "postgresql://quant:hun%40ter@db.example.org:6543/candles?sslmode=verify-ca&sslrootcert=system"
    parsed = PostgresConfig.from_url(url, pool_size=2)
    assert (parsed.host, parsed.port, parsed.database) == ("db.example.org", 6543, "candles")
    assert (parsed.user, parsed.password, parsed.ssl_mode) == ("quant", "hun@ter", "verify-ca")
    assert parsed.parameters == {"sslrootcert": "system"}
    assert parsed.pool_size == 2


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/db",
        "postgresql://u:hunter2@h",
        "postgresql://u:hunter2@/db",
        "postgresql://u:hunter2@h:99999999/db",
        "postgresql://u:hunter2%zz@h/db",
        "postgresql://u:hun/ter2@h:5432/db",
        "postgresql://u:hunter2@a,b:1,2/db",
        "hunter2",
    ],
)
def test_a_bad_url_is_refused_without_any_piece_of_it_that_could_be_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgresConfig.from_url(url)
    assert "hun" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(
    password=st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    database=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1),
)
def test_no_password_or_name_can_break_out_of_the_connection_string(password: str, database: str) -> None:
    known = conninfo_to_dict(config(password=password, database=database).conninfo())
    assert known.get("password", "") == password
    assert known["dbname"] == database
    assert (known["host"], known["user"], known["sslmode"]) == ("localhost", "quant", "prefer")
