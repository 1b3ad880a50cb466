"""One client of the candle stream: what waits to be sent to it, and how its connection ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from aiohttp import ClientError, web

from chandlery.simulator.limits import Limit
from chandlery.simulator.stream_journal import Connection
from chandlery.simulator.topics import Channel

BUFFER_FULL, TOO_MANY_CHANNELS, NO_DATA, UPGRADED = 4005, 4008, 4004, 1001
LARGEST_LIST = 64 * 1024
"""Bytes of the list of channels of one connection."""
REQUESTS = Limit(requests=480, window_s=3_600.0)
"""Requests to subscribe or unsubscribe on one connection; they may come at once."""
_MOST_WAITING = 20_000


class Subscriber:
    """A connection. Messages are sent by a task of its own, so that a slow client holds nobody up."""

    def __init__(
        self, socket: web.WebSocketResponse, request: web.Request, entry: Connection, clock: Callable[[], float]
    ):
        self.entry = entry
        self.channels: set[Channel] = set()
        self._socket, self._request, self._clock = socket, request, clock
        self._waiting: deque[str] = deque()
        self._some = asyncio.Event()
        self._silent_until = float("-inf")
        self._requested: deque[float] = deque(maxlen=REQUESTS.requests)
        self._heard_at = clock()
        self._writing = asyncio.create_task(self._write())
        self._closing: asyncio.Task[bool] | None = None

    @property
    def silent(self) -> bool:
        """Whether a fault keeps it from hearing anything."""
        return self._clock() < self._silent_until

    @property
    def idle_s(self) -> float:
        """How long nothing has passed in either direction; 0 during a fault's silence."""
        return 0.0 if self.silent else self._clock() - self._heard_at

    def send(self, text: str) -> bool:
        """Line up a message; whether the client will get it."""
        if self.silent or self._closing is not None:
            return False
        if len(self._waiting) >= _MOST_WAITING:
            self.close(BUFFER_FULL, "Buffer is full.")
            return False
        self._waiting.append(text)
        self._some.set()
        self._heard_at = self._clock()
        return True

    def heard(self) -> None:
        """The client has said something."""
        self._heard_at = self._clock()

    def may_request(self) -> bool:
        """Whether one more request is inside the limit; if so it is counted."""
        now, requested = self._clock(), self._requested
        if len(requested) == requested.maxlen and now - requested[0] < REQUESTS.window_s:
            return False
        requested.append(now)
        return True

    def fall_silent(self, duration_s: float) -> None:
        """Say nothing for so long, whatever the client says; what is pushed meanwhile is lost."""
        self._silent_until = self._clock() + duration_s

    def cut(self) -> None:
        """Break the connection without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()

    def close(self, code: int, reason: str) -> None:
        """Close the connection with a code, as far as the client listens."""
        if self._closing is None:
            self.entry.code = code
            self._closing = asyncio.create_task(self._socket.close(code=code, message=reason.encode()))

    async def end(self) -> None:
        """Wait for nothing more."""
        self._writing.cancel()
        tasks = [self._writing] if self._closing is None else [self._writing, self._closing]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        with contextlib.suppress(ClientError, OSError):
            while True:
                await self._some.wait()
                self._some.clear()
                while self._waiting:
                    await self._socket.send_str(self._waiting.popleft())
