"""A database for one run: on the server that CHANDLERY_DATABASE_URL names, else on an embedded one for the occasion."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from chandlery.storage.embedded import EmbeddedServer

SERVER_VARIABLE = "CHANDLERY_DATABASE_URL"


@contextlib.contextmanager
def new_database() -> Iterator[str]:
    """The connection string of an empty database, which is dropped at the end."""
    with _server() as server, database_on(server) as conninfo:
        yield conninfo


@contextlib.contextmanager
def database_on(server: str) -> Iterator[str]:
    """The same, on the server of this connection string."""
    name = f"chandlery_benchmark_{uuid.uuid4().hex[:8]}"
    _administer(server, "CREATE DATABASE {}", name)
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        _administer(server, "DROP DATABASE {} WITH (FORCE)", name)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="chandlery-benchmark-") as folder:
        Path(folder).chmod(0o755)  # started by root, the server runs as another user, who must get there
        with EmbeddedServer(Path(folder) / "server") as server:
            yield server.conninfo


def _administer(server: str, statement: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
