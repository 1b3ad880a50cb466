"""What the fault tests break: a server of their own, a proxy in front of it, and an exchange."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo

from faults.proxy import Proxy
from faults.servers import PrivateServer
from faults.world import World, small_exchange


@pytest.fixture(scope="session")
def _server() -> Iterator[PrivateServer]:
    with PrivateServer(shared_buffers="32MB", deadlock_timeout="200ms") as server:
        server.make_schema()
        yield server


@pytest.fixture
def server(_server: PrivateServer) -> PrivateServer:
    """A durable server that a test may kill; the next test finds it running again."""
    _server.ensure_running()
    return _server


@pytest.fixture
def proxy(server: PrivateServer) -> Iterator[Proxy]:
    """A way to the server that fails when it is told to."""
    with Proxy(server.socket_folder) as opened:
        yield opened


@pytest.fixture
def world(server: PrivateServer, proxy: Proxy) -> Iterator[World]:
    """An exchange of one symbol and a database of the test's own, both well."""
    name = f"world_{uuid.uuid4().hex[:12]}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE chandlery")
    with small_exchange().run_in_thread() as exchange:
        yield World(
            exchange=exchange,
            direct=make_conninfo(server.direct, dbname=name),
            conninfo=make_conninfo(server.through(proxy.port), dbname=name),
        )
    server.ensure_running()
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
