"""What the simulator offers beside the exchange's protocol: faults to arm, outages, and the journal.

    POST   /simulator/faults     {"kind": "hole", "count": 2, "endpoint": "history-candles", "inst_id": "BTC-USDT"}
    DELETE /simulator/faults     disarm
    POST   /simulator/outage     {"duration_s": 2}
    GET    /simulator/requests   counters and a line for each request
    DELETE /simulator/requests   forget them

Of a fault only ``kind`` is required; ``duration_s`` says how long a delay, a hang or a slow body lasts. These paths
know no limit and meet no fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from aiohttp import web

from chandlery.errors import ConfigurationError
from chandlery.simulator.faults import ArmedFault, Faults
from chandlery.simulator.journal import Journal

_ANSWER_FIRST_S = 0.05


class Outage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of a request for an outage; the duration is in seconds."""

    duration_s: float


class Admin:
    """The handlers of the paths under ``/simulator``; ``begin_outage`` takes a duration in seconds."""

    def __init__(self, *, faults: Faults, journal: Journal, begin_outage: Callable[[float], None]) -> None:
        self._faults, self._journal, self._begin_outage = faults, journal, begin_outage

    def routes(self) -> list[web.RouteDef]:
        """The paths and their handlers."""
        return [
            web.post("/simulator/faults", self._arm),
            web.delete("/simulator/faults", self._disarm),
            web.post("/simulator/outage", self._outage),
            web.get("/simulator/requests", self._requests),
            web.delete("/simulator/requests", self._forget),
        ]

    async def _arm(self, request: web.Request) -> web.Response:
        try:
            self._faults.arm(msgspec.json.decode(await request.read(), type=ArmedFault))
        except (msgspec.DecodeError, ConfigurationError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"waiting": self._faults.waiting()})

    async def _disarm(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response({"waiting": 0})

    async def _outage(self, request: web.Request) -> web.Response:
        try:
            outage = msgspec.json.decode(await request.read(), type=Outage)
        except msgspec.DecodeError as error:
            return web.json_response({"error": str(error)}, status=400)
        asyncio.get_running_loop().call_later(_ANSWER_FIRST_S, self._begin_outage, outage.duration_s)
        return web.json_response({"duration_s": outage.duration_s})

    async def _requests(self, _request: web.Request) -> web.Response:
        return web.json_response(self._journal.summary())

    async def _forget(self, _request: web.Request) -> web.Response:
        self._journal.clear()
        return web.json_response({})
