"""One PostgreSQL for the whole run: the server named by CHANDLERY_TEST_DATABASE_URL, else a private throw-away one.

A test that needs a database gets a clone of a template that has the schema, and the clone is dropped afterwards. If no
server can be had the run fails; nothing is skipped.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from chandlery.storage.database import Database
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.schema import apply_schema

# how long an example takes says something about the machine, not about the promise
settings.register_profile("chandlery", deadline=None)
settings.load_profile("chandlery")

GIVEN = "CHANDLERY_TEST_DATABASE_URL"
_RUNNING = "CHANDLERY_TEST_SERVER"
_TEMPLATE = "CHANDLERY_TEST_TEMPLATE"
_KEEP = ("CHANDLERY_TEST_", "CHANDLERY_REAL_CANDLES")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # the workers share the controller's server
    given = os.environ.get(GIVEN)
    if given is None:
        folder = Path(tempfile.mkdtemp(prefix="chandlery-tests-"))
        server = EmbeddedServer(folder, durable=False, options={"max_connections": "200"})
        server.start()
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.add_cleanup(server.stop)
        given = server.conninfo
    template = f"chandlery_template_{uuid.uuid4().hex[:8]}"
    os.environ[_RUNNING], os.environ[_TEMPLATE] = given, template
    _administer(given, "CREATE DATABASE {}", template)
    config.add_cleanup(lambda: _administer(given, "DROP DATABASE {} WITH (FORCE)", template))
    database = Database(make_conninfo(given, dbname=template))
    apply_schema(database)
    database.close()


@pytest.fixture(autouse=True)
def _no_settings_of_the_person_who_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor the home folder of whoever runs the tests may change their outcome."""
    for name in list(os.environ):
        if name.startswith(("CHANDLERY_", "POSTGRES_", "PG")) and not name.startswith(_KEEP):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


@pytest.fixture
def new_database() -> Iterator[Callable[..., str]]:
    """Makes databases: ``new_database()`` has the schema, ``new_database(empty=True)`` has nothing."""
    server, made = os.environ[_RUNNING], []

    def make(*, empty: bool = False) -> str:
        name = f"chandlery_test_{uuid.uuid4().hex}"
        _administer(server, "CREATE DATABASE {} TEMPLATE {}", name, "template0" if empty else os.environ[_TEMPLATE])
        made.append(name)
        return make_conninfo(server, dbname=name)

    yield make
    for name in made:
        _administer(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@pytest.fixture
def database_url(new_database: Callable[..., str]) -> str:
    """The connection string of a database of the test's own, with the schema."""
    return new_database()


@pytest.fixture
def storage(database_url: str) -> Iterator[PostgreSQLStorage]:
    """The door to a database of the test's own."""
    with PostgreSQLStorage(database_url) as opened:
        yield opened


def _administer(server: str, statement: str, *names: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
