"""Listening to an exchange's candle stream with nothing of the product in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

PATIENCE_S = 10.0


class Listener:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, message: str | dict) -> None:
        await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def subscribe(self, *channels: tuple[str, str], op: str = "subscribe", **fields: str) -> None:
        await self.say({"op": op, "args": [{"channel": c, "instId": i} for c, i in channels]} | fields)

    async def text(self) -> str:
        message = await self.socket.receive(timeout=PATIENCE_S)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return message.data

    async def next(self) -> dict:
        return json.loads(await self.text())

    async def confirms(self, count: int) -> list[dict]:
        """The next closing pushes."""
        found: list[dict] = []
        while len(found) < count:
            message = await self.next()
            if "data" in message and message["data"][0][8] == "1":
                found.append(message)
        return found

    async def end(self) -> int | None:
        """The code with which the connection is closed, None where it is cut; whatever comes before is passed over."""
        async with asyncio.timeout(PATIENCE_S):
            async for _ in self.socket:
                pass
        return None if self.socket.close_code == 1006 else self.socket.close_code


@asynccontextmanager
async def listening(base_url: str, path: str = "/ws/v5/business") -> AsyncIterator[Listener]:
    async with aiohttp.ClientSession() as session, session.ws_connect(base_url + path) as socket:
        yield Listener(socket)
