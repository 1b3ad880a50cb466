"""One life of one WebSocket: it subscribes its channels, reads what is pushed, and notices when nobody is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import numpy as np
from aiohttp import ClientError, ClientWebSocketResponse, WSCloseCode, WSMsgType

from chandlery.domain.timeframe import IntArray
from chandlery.errors import BadPage, ExchangeUnavailable
from chandlery.exchange.event_queue import EventQueue
from chandlery.exchange.okx import codes, stream_wire, wire
from chandlery.exchange.okx.stream_settings import StreamSettings
from chandlery.exchange.okx.subscribing import Subscribing
from chandlery.exchange.okx.subscriptions import Channel, Target
from chandlery.exchange.stream import Pushed, StreamEvent, Unreadable

Clock = Callable[[], float]


class ConnectionOver(Exception):
    """The end of a connection; ``expected`` if the exchange had announced it."""

    def __init__(self, reason: str, *, expected: bool = False) -> None:
        super().__init__(reason)
        self.expected = expected


class StreamConnection:
    """Feeds ``queue`` from ``socket`` until the connection is over; ``known`` gathers what was ever subscribed.

    All connections of a stream share the queue. ``clock`` is in seconds and never runs backwards.
    """

    def __init__(
        self,
        socket: ClientWebSocketResponse,
        channels: Mapping[Channel, Target],
        settings: StreamSettings,
        queue: EventQueue[StreamEvent],
        *,
        clock: Clock,
        known: set[Channel],
    ) -> None:
        self._socket, self._channels, self._settings, self._queue = socket, channels, settings, queue
        self._clock = clock
        self._subscribing = Subscribing(channels, settings, queue, self._send, clock=clock, known=known)
        self._heard, self._heard_at = asyncio.Event(), clock()
        self._reading = True

    async def run(self) -> ConnectionOver:
        """Work until the connection is over, and tell why."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for task in (self._read(), self._keep_alive(), self._subscribing.run()):
                    tasks.create_task(task)
        except* ConnectionOver as ends:
            over = ends.exceptions[0]
        assert isinstance(over, ConnectionOver), "reading ends with nothing else"
        return over

    # --- reading

    async def _read(self) -> None:
        async for message in self._socket:
            self._hear()
            if message.type is WSMsgType.TEXT:
                await self._take(message.data)
            elif message.type is WSMsgType.BINARY:
                self._pass_over("OKX pushed bytes where text belongs.", "")
            else:
                break
        code = self._socket.close_code
        broke = code in (None, WSCloseCode.ABNORMAL_CLOSURE)
        raise ConnectionOver("The connection broke." if broke else f"OKX closed the connection ({code}).")

    async def _take(self, text: str) -> None:
        try:
            message = stream_wire.message(text)
            if isinstance(message, stream_wire.Push):
                await self._forward(message)
                return
        except (ExchangeUnavailable, BadPage) as error:
            self._pass_over(str(error), text)
            return
        if isinstance(message, stream_wire.Acknowledged):
            self._subscribing.acknowledged(message.channel)
        elif isinstance(message, stream_wire.Denied):
            self._subscribing.denied(message)
        elif isinstance(message, stream_wire.Notice) and message.code == stream_wire.UPGRADE:
            raise ConnectionOver("OKX announced that it closes the connection for an upgrade.", expected=True)

    async def _forward(self, push: stream_wire.Push) -> None:
        target = self._channels.get(push.channel)
        if target is None:
            raise BadPage("OKX pushed candles that were not asked for.")
        answer = wire.candles(push.data, target.series, target.kind)
        order = np.argsort(answer.rows.open_time, kind="stable")
        for confirmed in (True, False):
            positions = order[answer.confirmed[order] == confirmed]
            if len(positions):
                await self._tell_candles(target, answer, positions, confirmed)

    async def _tell_candles(
        self, target: Target, answer: wire.CandleAnswer, positions: IntArray, confirmed: bool
    ) -> None:
        rows, raw = answer.rows.take(positions), answer.raw
        event = Pushed(
            series=target.series,
            rows=rows,
            confirmed=confirmed,
            raw=lambda i: raw(int(positions[i])),
            received_s=self._heard_at,
        )
        if confirmed:
            await self._put(event, instead_of=target.series)
        else:
            self._queue.put_latest(target.series, lambda _older: event)

    async def _put(self, event: StreamEvent, instead_of: object = None) -> None:
        """Add an event; while the queue is full nothing is read, so that silence means nothing."""
        self._reading = False
        await self._queue.put(event, instead_of=instead_of)
        self._reading = True
        self._hear()

    def _pass_over(self, reason: str, text: str) -> None:
        def counted(waiting: StreamEvent | None) -> StreamEvent:
            count = waiting.count if isinstance(waiting, Unreadable) else 0
            return Unreadable(count=count + 1, reason=reason, text=codes.quoted(text))

        self._queue.put_latest(Unreadable, counted)

    # --- staying alive

    def _hear(self) -> None:
        self._heard_at = self._clock()
        self._heard.set()

    async def _keep_alive(self) -> None:
        settings = self._settings
        while True:
            silent_s = self._clock() - self._heard_at
            if silent_s < settings.ping_after_s:
                await asyncio.sleep(settings.ping_after_s - silent_s)
                continue
            self._heard.clear()
            await self._send(stream_wire.PING)
            try:
                await asyncio.wait_for(self._heard.wait(), settings.pong_within_s)
            except TimeoutError:
                if self._reading:
                    silent_s = self._clock() - self._heard_at
                    raise ConnectionOver(f"OKX has not said anything for {silent_s:.0f} s.") from None

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send_str(text)
        except (ClientError, OSError) as error:
            raise ConnectionOver("The connection broke.") from error
