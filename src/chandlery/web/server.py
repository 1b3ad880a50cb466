"""The server of the page: loopback or with a token, read-only, until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from chandlery.errors import ConfigurationError
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.web.access import HEADERS, LOGIN, Door
from chandlery.web.api import Api
from chandlery.web.documents import Documents
from chandlery.web.live import Live

_CLOSE_WITHIN_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where to listen and who may look.

    ``port`` 0 takes any free one; ``token`` None lets everybody in who reaches it; ``names`` are further host names.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    names: Sequence[str] = ()


@asynccontextmanager
async def serving(storage: PostgreSQLStorage, options: ServeOptions) -> AsyncIterator[str]:
    """Serve while the block runs; gives the address of the page. Raises ConfigurationError if it cannot listen."""
    live = Live(storage.database.conninfo)
    api = Api(storage, live)
    runner = web.AppRunner(
        _app(api, Door(options.host, options.token, (*options.names, socket.gethostname()))), access_log=None
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"nothing can listen at {options.host} port {options.port}: {error.strerror or error}.",
                hint="Choose another one: --port 0 takes any free port.",
            ) from error
        live.start()
        yield _address(options.host, runner.addresses[0][1])
    finally:
        live.stop()
        await runner.cleanup()
        api.close()


def _app(api: Api, door: Door) -> web.Application:
    documents = Documents()
    app = web.Application(middlewares=[door.guard])
    app.add_routes(
        [
            web.get("/", documents.page),
            web.get("/static/{name:.+}", documents.file),
            web.get(LOGIN, door.login),
            web.post(LOGIN, door.login),
            *api.routes(),
        ]
    )
    app.on_response_prepare.append(_protect)
    return app


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    """On every answer, also of streams and of errors."""
    response.headers.update(HEADERS)


def _address(host: str, port: int) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is asked about, not listened on
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
