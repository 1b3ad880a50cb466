"""What the simulator offers beside the exchange's stream: faults to arm, lost connections, and the stream's journal.

    POST   /simulator/stream-faults  {"kind": "missing_confirm", "count": 2, "channel": "candle1m"}
    DELETE /simulator/stream-faults  disarm
    POST   /simulator/drop-streams   cut all connections
    GET    /simulator/streams        connections, their channels, and the confirms that were spoilt

Of a fault only ``kind`` is required; see ArmedStreamFault.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from chandlery.errors import ConfigurationError
from chandlery.simulator.stream import Streams
from chandlery.simulator.stream_faults import ArmedStreamFault


class StreamAdmin:
    """The handlers of the paths under ``/simulator`` that are about the stream."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def routes(self) -> list[web.RouteDef]:
        """The paths and their handlers."""
        return [
            web.post("/simulator/stream-faults", self._arm),
            web.delete("/simulator/stream-faults", self._disarm),
            web.post("/simulator/drop-streams", self._drop),
            web.get("/simulator/streams", self._journal),
        ]

    async def _arm(self, request: web.Request) -> web.Response:
        try:
            self._streams.faults.arm(msgspec.json.decode(await request.read(), type=ArmedStreamFault))
        except (msgspec.DecodeError, ConfigurationError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"waiting": self._streams.faults.waiting()})

    async def _disarm(self, _request: web.Request) -> web.Response:
        self._streams.faults.clear()
        return web.json_response({"waiting": 0})

    async def _drop(self, _request: web.Request) -> web.Response:
        return web.json_response({"dropped": self._streams.drop()})

    async def _journal(self, _request: web.Request) -> web.Response:
        return web.json_response(self._streams.journal.summary())
