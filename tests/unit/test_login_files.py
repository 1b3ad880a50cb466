"""Logins come from files of their own; a password torn out of a URL is told to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from chandlery.errors import ConfigurationError
from chandlery.settings import load_settings
from chandlery.storage.config import PostgresConfig
from chandlery.storage.database import Database
from chandlery.storage.login_files import LARGEST_FILE, password_in

SERVICES = """
# databases
[other]
host=elsewhere
[candles]
host = db.example.org
dbname=market
user=collector
password=hun=ter2
"""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "services"
    path.write_text(SERVICES)
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    return path


def test_a_service_gives_what_the_url_lacks(services: Path) -> None:
    """Also the host, from which follows how the connection is protected."""
    config = PostgresConfig.from_url("postgresql:///?service=candles")
    assert (config.host, config.database, config.user) == ("db.example.org", "market", "collector")
    assert (config.password, config.ssl_mode) == ("hun=ter2", "verify-full")
    assert PostgresConfig.from_url("postgresql://me@/?service=candles").user == "me"
    assert "sslmode=verify-full" in Database("service=candles").conninfo


def test_a_service_named_by_the_environment_counts(services: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "candles")
    assert "host=db.example.org" in Database("").conninfo


def test_a_shared_file_of_services_is_looked_into_too(services: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services.rename(services.with_name("pg_service.conf"))
    monkeypatch.setenv("PGSYSCONFDIR", str(services.parent))
    assert "host=db.example.org" in Database("service=candles").conninfo


@pytest.mark.parametrize("content", [SERVICES.replace("candles", "none"), None, "x" * (LARGEST_FILE + 1)])
def test_a_service_that_cannot_be_had_is_refused_without_its_text(services: Path, content: str | None) -> None:
    if content is None:
        services.unlink()
    else:
        services.write_text(content)
    with pytest.raises(ConfigurationError) as told:
        Database("service=candles")
    assert "hun" not in str(told.value)


def test_a_password_has_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hunter2\n")
    variables = {"CHANDLERY_DATABASE_URL": "postgresql://u@localhost/d", "CHANDLERY_DATABASE_PASSWORD_FILE": str(path)}
    used = load_settings(environ=variables).database.postgres()
    assert used is not None
    assert used.password == password_in(path) == "hunter2"
    with pytest.raises(ConfigurationError, match="both given"):
        load_settings(environ=variables | {"CHANDLERY_DATABASE_PASSWORD": "hunter3"})
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="empty or absent"):
        load_settings(environ=variables)


@pytest.mark.parametrize("password", ["hun@ter2", "hun/ter2", "hun/te@r2", "h@u@nter2"])
@pytest.mark.parametrize("make", [PostgresConfig.from_url, Database])
def test_no_piece_of_a_password_that_was_not_escaped_is_told(password: str, make: type) -> None:
    with pytest.raises(ConfigurationError) as told:
        make(f"postgresql://quant:{password}@db.example.org/candles")
    assert "hun" not in str(told.value)
    assert "ter2" not in str(told.value)
    assert "%40" in str(told.value)


def test_a_server_elsewhere_must_prove_who_it_is_unless_the_environment_chooses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "sslmode=verify-full" in Database("host=db.example.org").conninfo
    assert "sslmode=prefer" in Database("host=/run/postgresql").conninfo
    assert "sslmode=prefer" in Database("dbname=market").conninfo
    monkeypatch.setenv("PGHOST", "db.example.org")
    assert "sslmode=verify-full" in Database("dbname=market").conninfo
    monkeypatch.setenv("PGSSLMODE", "require")
    assert "sslmode" not in Database("dbname=market").conninfo
