"""OKX as a stream of candles: as many connections as the limits ask for, each made again for as long as it takes.

Connections are begun evenly paced, whichever of them is due; each lives and dies on its own, so the loss of one takes
no series of another along.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, ClientWSTimeout

from chandlery.domain.instrument import Instrument, Series
from chandlery.exchange.event_queue import EventQueue
from chandlery.exchange.okx import codes
from chandlery.exchange.okx.settings import OkxSettings
from chandlery.exchange.okx.stream_connection import ConnectionOver, StreamConnection
from chandlery.exchange.okx.stream_settings import StreamSettings
from chandlery.exchange.okx.subscriptions import Channel, Target, channels, lists
from chandlery.exchange.pacing import Pacer
from chandlery.exchange.stream import CandleStream, Lost, StreamEvent

_GOOD_AFTER_S = 1.0
"""A connection that lived so long was a good one: the next one is made without the waits of a failing host."""
_CLOSE_WITHIN_S = 0.5

_Channels = Mapping[Channel, Target]


class OkxStream(CandleStream):
    """Pushed candles of OKX, or of a simulator that speaks its protocol; ``async with OkxStream(wanted) as stream``.

    ``wanted`` are the series with their instruments, which tell the meaning of the volumes. ``clock`` is in seconds
    and never runs backwards; ``rng`` spreads the waits between two tries.
    """

    def __init__(
        self,
        wanted: Iterable[tuple[Instrument, Series]],
        settings: OkxSettings | None = None,
        *,
        stream: StreamSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.settings = settings or OkxSettings()
        self.stream_settings = stream or StreamSettings()
        self.exchange = self.settings.exchange
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._groups = _groups(channels(wanted), self.stream_settings)
        self._queue = EventQueue[StreamEvent](self.stream_settings.most_waiting)
        self._pacer = Pacer(self.stream_settings.connects, share=self.stream_settings.share)
        self._line = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            headers={"User-Agent": "chandlery"},
            trust_env=not self.settings.is_simulated,  # a proxy cannot reach this machine's loopback
        )
        self._tasks = [asyncio.create_task(self._keep_connected(group)) for group in self._groups]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._queue.close()
        await self._session.close()

    async def batch(self) -> Sequence[StreamEvent]:
        """All events that wait, oldest first; it waits for the first one. Empty once the stream is closed."""
        return await self._queue.get_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A connection is kept for ever, so one that ends by itself has met an error, which is the reader's to see."""
        if not task.cancelled():
            self._queue.close(task.exception())

    async def _keep_connected(self, group: _Channels) -> None:
        series = tuple(target.series for target in group.values())
        known: set[Channel] = set()
        told, attempt = False, 0
        while True:
            began = self._clock()
            try:
                socket = await self._connect()
            except ConnectionOver as error:
                over = error
            else:
                over, told = await self._one_life(socket, group, known), False
            if not told:
                await self._queue.put(Lost(series=series, reason=str(over)))
                told = True
            attempt = 0 if over.expected or self._clock() - began >= _GOOD_AFTER_S else attempt + 1
            if attempt:
                await asyncio.sleep(self.settings.backoff.delay_s(attempt - 1, self._rng))

    async def _one_life(self, socket: ClientWebSocketResponse, group: _Channels, known: set[Channel]) -> ConnectionOver:
        settings = self.stream_settings
        connection = StreamConnection(socket, group, settings, self._queue, clock=self._clock, known=known)
        try:
            return await connection.run()
        finally:
            await socket.close()

    async def _connect(self) -> ClientWebSocketResponse:
        """A new connection, when it is its turn; raises ConnectionOver if there is none to be had."""
        settings = self.settings
        await self._turn()
        # aiohttp finds HTTPS_PROXY for an https address only; the handshake is HTTP all the same
        url = settings.stream_url.replace("ws", "http", 1)
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                return await self._session.ws_connect(
                    url,
                    max_msg_size=self.stream_settings.largest_message,
                    timeout=ClientWSTimeout(ws_close=_CLOSE_WITHIN_S),
                )
        except TimeoutError as error:
            raise _unreachable(settings, f"no answer within {settings.connect_timeout_s:g} s") from error
        except (ClientError, OSError) as error:
            raise _unreachable(settings, codes.quoted(str(error) or type(error).__name__)) from error

    async def _turn(self) -> None:
        async with self._line:
            while True:
                now = self._clock()
                start = self._pacer.next_start(now)
                if start <= now:
                    self._pacer.started(now)
                    return
                await asyncio.sleep(start - now)


def _groups(channels: _Channels, settings: StreamSettings) -> list[_Channels]:
    """The channels of each connection."""
    cut = lists(channels, most=settings.channels_per_connection, most_bytes=int(settings.largest_list * settings.share))
    return [{channel: channels[channel] for channel in taken} for taken in cut]


def _unreachable(settings: OkxSettings, why: str) -> ConnectionOver:
    return ConnectionOver(f"{settings.stream_url} cannot be reached: {why}.")
