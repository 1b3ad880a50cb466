"""A small exchange for tests of the client: a real HTTP server on loopback that holds candles of one instrument.

It keeps OKX's rules of paging, and lets a test put scripted answers in front of the honest ones.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from chandlery.domain.instrument import Instrument, Kind, Series
from chandlery.domain.resilience import Backoff
from chandlery.domain.timeframe import Timeframe, timeframe
from chandlery.exchange.okx import Endpoint, OkxSettings
from chandlery.exchange.pacing import RateLimit

MINUTE = timeframe("1m")
NOW = 1_700_000_030_000
FAST = {endpoint: RateLimit(requests=1000, window_s=1.0) for endpoint in Endpoint}
CANDLES = (Endpoint.CANDLES, Endpoint.HISTORY_CANDLES)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def series(frame: Timeframe = MINUTE) -> Series:
    return Series("okx-simulated", "BTC-USDT", frame)


def instrument(kind: Kind = Kind.SPOT) -> Instrument:
    return Instrument(exchange="okx-simulated", symbol="BTC-USDT", kind=kind, base="BTC", quote="USDT")


def candle(open_time: int, confirm: str = "1") -> list[str]:
    return [str(open_time), "100.1", "101.2", "99.3", "100.4", "7.5", "752.5", "753.25", confirm]


def envelope(data: object, code: str = "0", msg: str = "") -> dict[str, object]:
    return {"code": code, "msg": msg, "data": data}


def says(body: object = None, *, code: str = "0", status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A scripted answer: bytes as they are, a list as the data of an envelope, nothing as an error with ``code``."""

    async def answer(_: web.Request) -> web.StreamResponse:
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, headers=headers)
        text = json.dumps(envelope(body if body is not None else [], code, "" if code == "0" else f"error {code}"))
        return web.Response(text=text, status=status, headers=headers, content_type="application/json")

    return answer


async def resets(request: web.Request) -> web.StreamResponse:
    """The connection is cut without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hangs(_: web.Request) -> web.StreamResponse:
    """Longer than any time-out of the tests."""
    await asyncio.sleep(30)
    return web.Response()


@dataclass(frozen=True)
class Request:
    at: float
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class SmallOkx:
    """``rows`` are all candles by open time; ``scripted`` answers come first, one a request to that endpoint."""

    rows: dict[int, list[str]] = field(default_factory=dict)
    history_rows: dict[int, list[str]] | None = None
    now: int = NOW
    instruments: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    scripted: dict[Endpoint, deque[Answer]] = field(default_factory=lambda: {e: deque() for e in Endpoint})
    always: Answer | None = None
    requests: list[Request] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @classmethod
    def with_candles(cls, *open_times: int, now: int = NOW) -> SmallOkx:
        return cls(rows={int(t): candle(int(t)) for t in open_times}, now=now)

    def script(self, *answers: Answer, endpoint: Endpoint | None = None) -> None:
        for candles in [endpoint] if endpoint else CANDLES:
            self.scripted[candles].extend(answers)

    def asked(self, *endpoints: Endpoint) -> list[Request]:
        return [request for request in self.requests if request.path in (endpoints or CANDLES)]

    async def reached(self, count: int) -> None:
        """Return once ``count`` requests for candles have arrived."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.asked()) >= count)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.requests.append(Request(time.monotonic(), request.path, query, dict(request.headers)))
        async with self.arrived:
            self.arrived.notify_all()
        endpoint = Endpoint(request.path)
        if self.scripted[endpoint]:
            return await self.scripted[endpoint].popleft()(request)
        if self.always is not None:
            return await self.always(request)
        if endpoint is Endpoint.TIME:
            return web.json_response(envelope([{"ts": str(self.now)}]))
        if endpoint is Endpoint.INSTRUMENTS:
            return web.json_response(envelope(self.instruments.get(query["instType"], [])))
        of_history = endpoint is Endpoint.HISTORY_CANDLES and self.history_rows is not None
        return web.json_response(envelope(self._page(self.history_rows if of_history else self.rows, query)))

    @staticmethod
    def _page(rows: dict[int, list[str]] | None, query: dict[str, str]) -> list[list[str]]:
        after, before = int(query.get("after", 2**62)), int(query.get("before", -1))
        inside = sorted((t for t in rows or {} if before < t < after), reverse=True)
        return [(rows or {})[t] for t in inside[: int(query["limit"])]]


@asynccontextmanager
async def serving(okx: SmallOkx, **overrides: object) -> AsyncIterator[OkxSettings]:
    """Settings that reach ``okx``, with limits and waits fit for tests."""
    app = web.Application()
    app.router.add_get("/{path:.*}", okx.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    values: dict[str, object] = {"limits": FAST, "backoff": Backoff(base_s=0.001, cap_s=0.01), "timeout_s": 5.0}
    try:
        yield OkxSettings(base_url=f"http://127.0.0.1:{port}", **(values | overrides))  # type: ignore[arg-type]
    finally:
        await runner.cleanup()
