"""The questions a page asks, answered from the store on threads; docs/serve.md lists them. All of them only read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import ChandleryError, DatabaseError
from chandlery.services.browsing.coverage_map import coverage_map, known_span, quiet_runs
from chandlery.services.browsing.state import state_of_collection
from chandlery.services.browsing.window import window
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.web.answers import map_answer, series_answer, state_answer, window_answer
from chandlery.web.live import Live

MOST_CANDLES = 50_000
MOST_CELLS = 2_000
MOST_ROWS = 500
_LATEST_MS = 4_102_444_800_000  # 2100-01-01 UTC
_THREADS = 4

Result = TypeVar("Result")


class Api:
    """Answers from ``storage``, whose connections only read."""

    def __init__(self, storage: PostgreSQLStorage, live: Live) -> None:
        self._storage = storage
        self._live = live
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="chandlery-web")

    def routes(self) -> list[web.RouteDef]:
        """Where each question is asked."""
        return [
            web.get("/api/series", self.series),
            web.get("/api/candles", self.candles),
            web.get("/api/coverage", self.coverage),
            web.get("/api/quiet", self.quiet),
            web.get("/api/state", self.state),
            web.get("/api/events", self.events),
        ]

    def close(self) -> None:
        """Begin nothing new."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def series(self, _: web.Request) -> web.StreamResponse:
        """Every series, with the span and the share of it that is covered."""
        entries = await self._away(self._storage.ledger.entries)
        return _json([series_answer(entry) for entry in entries if entry.spans])

    async def candles(self, request: web.Request) -> web.StreamResponse:
        """A window of candles."""
        series = _series(request)
        count = _number(request, "count", 1, MOST_CANDLES, 1_000)
        start, end = _time(request, "start"), _time(request, "end")
        return _json(await self._away(lambda: self._window(series, count, start, end)))

    async def coverage(self, request: web.Request) -> web.StreamResponse:
        """The coverage map."""
        cells = _number(request, "cells", 1, MOST_CELLS, 400)
        wanted = request.query.get("filter", "").strip().lower()
        bounds = _time(request, "start"), _time(request, "end")
        return _json(await self._away(lambda: self._map(wanted, bounds, cells)))

    async def quiet(self, request: web.Request) -> web.StreamResponse:
        """Where a series was quiet; null where the span is too long to look through."""
        series, span = _series(request), _span(_time(request, "start"), _time(request, "end"))
        found = await self._away(lambda: quiet_runs(self._storage, series, span))
        return _json(None if found is None else [[run.start, run.end] for run in found])

    async def state(self, _: web.Request) -> web.StreamResponse:
        """The state of collection."""
        now = time.time_ns() // 1_000_000
        state = await self._away(lambda: state_of_collection(self._storage, self._storage.ledger.entries(), now=now))
        heard = self._live.heard_in_last_minute()
        return _json(state_answer(state, now=now, heard=heard, listening=self._live.listening))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """What is stored from now on, as Server-Sent Events."""
        if self._live.full:
            raise web.HTTPServiceUnavailable(text="Too many pages are open.\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        try:
            async for event in self._live.events():
                await response.write(event.encode())
        except ConnectionResetError:
            pass
        return response

    def _window(self, series: Series, count: int, start: int | None, end: int | None) -> dict[str, Any]:
        return window_answer(series, window(self._storage, series, count, start=start, end=end))

    def _map(self, wanted: str, bounds: tuple[int | None, int | None], cells: int) -> dict[str, Any]:
        entries = [entry for entry in self._storage.ledger.entries() if entry.spans and wanted in _text(entry)]
        span = _map_span(entries, *bounds)
        rows = coverage_map(self._storage, entries[:MOST_ROWS], span, cells)
        return map_answer(rows, span, cells, len(entries))

    async def _away(self, work: Callable[[], Result]) -> Result:
        """Do blocking work on a thread; the store's errors become answers."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except DatabaseError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        except ChandleryError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error


def _map_span(entries: list[LedgerEntry], start: int | None, end: int | None) -> Span:
    """What was asked for, or from the first to the last known instant."""
    known = [span for span in map(known_span, entries) if span is not None]
    first = min((span.start for span in known), default=0) if start is None else start
    last = max((span.end for span in known), default=first + 1) if end is None else end
    return _span(first, max(last, first + 1))


def _text(entry: LedgerEntry) -> str:
    series = entry.series
    return f"{series.exchange} {series.symbol} {series.timeframe}".lower()


def _series(request: web.Request) -> Series:
    """The series as it is stored: the names are compared with what is there, whatever they look like."""
    names = [request.query.get(name) for name in ("exchange", "symbol", "timeframe")]
    if names[0] is None or names[1] is None or names[2] not in TIMEFRAMES:
        raise web.HTTPBadRequest(text="Name exchange, symbol and timeframe.\n")
    return Series(names[0], names[1], TIMEFRAMES[names[2]])


def _number(request: web.Request, name: str, least: int, most: int, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16 and least <= int(text) <= most):
        raise web.HTTPBadRequest(text=f"{name} should be a number from {least} to {most}.\n")
    return int(text)


def _time(request: web.Request, name: str) -> int | None:
    return None if name not in request.query else _number(request, name, 0, _LATEST_MS, 0)


def _span(start: int | None, end: int | None) -> Span:
    if start is None or end is None or start >= end:
        raise web.HTTPBadRequest(text="start and end should be times in milliseconds, the end later.\n")
    return Span(start, end)


def _json(value: object) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", headers=headers)
