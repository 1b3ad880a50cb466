"""One life of one WebSocket: it subscribes its channels, reads what is pushed, and notices when nobody is there.

Requests go out one after another, so that an error, which does not tell what it is about, is known to belong to the
request under way. What a refused request leaves unanswered is halved and asked for again, until the one channel that
is wrong stands alone; all others are subscribed by then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from aiohttp import ClientError, ClientWebSocketResponse, WSCloseCode, WSMsgType

from chandlery.domain.timeframe import IntArray
from chandlery.errors import BadPage, ExchangeError, ExchangeUnavailable, RequestRefused
from chandlery.exchange.event_queue import EventQueue
from chandlery.exchange.okx import codes, stream_wire, wire
from chandlery.exchange.okx.stream_settings import StreamSettings
from chandlery.exchange.okx.subscriptions import Channel, Target, halves, lists, subscribe_request
from chandlery.exchange.pacing import Allowance
from chandlery.exchange.stream import Pushed, Refused, StreamEvent, Subscribed, Unreadable

_TRIES_ALONE = 3
"""How often a channel that stands alone is asked for, unless it is said not to exist."""
_STRAGGLERS_S = 0.2
"""How long the channels of a refused request may still be acknowledged before they are asked for again."""

Clock = Callable[[], float]


class ConnectionOver(Exception):
    """The end of a connection; ``expected`` if the exchange had announced it."""

    def __init__(self, reason: str, *, expected: bool = False) -> None:
        super().__init__(reason)
        self.expected = expected


@dataclass(slots=True)
class _Request:
    """Channels to subscribe together, and how often they were asked for alone."""

    channels: Sequence[Channel]
    tries: int = 0


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
        self._clock, self._known = clock, known
        self._allowance = Allowance(settings.requests, share=settings.share)
        self._heard, self._heard_at = asyncio.Event(), clock()
        self._reading = True
        self._unanswered: set[Channel] = set()
        self._denied: stream_wire.Denied | None = None
        self._answered = asyncio.Event()
        self._sent = 0

    async def run(self) -> ConnectionOver:
        """Work until the connection is over, and tell why."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for task in (self._read(), self._keep_alive(), self._subscribe()):
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
            self._unanswered.discard(message.channel)
            self._answered.set()
        elif isinstance(message, stream_wire.Denied):
            self._denied = message
            self._answered.set()
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

    # --- subscribing

    async def _subscribe(self) -> None:
        settings = self._settings
        cut = lists(self._channels, most=settings.channels_per_request, most_bytes=settings.largest_list)
        requests = deque(_Request(channels) for channels in cut)
        while requests:
            request = requests.popleft()
            left = await self._ask(request)
            await self._tell_subscribed([channel for channel in request.channels if channel not in left])
            if len(left) > 1:
                requests.extendleft(_Request(half) for half in reversed(halves(left)))
            elif left:
                await self._once_more(requests, _Request(left, request.tries + 1))

    async def _tell_subscribed(self, channels: Sequence[Channel]) -> None:
        for again in (False, True):
            series = tuple(self._channels[each].series for each in channels if (each in self._known) is again)
            if series:
                await self._queue.put(Subscribed(series=series, again=again))
        self._known.update(channels)

    async def _once_more(self, requests: deque[_Request], request: _Request) -> None:
        """Line up a channel that stands alone again, or give it up for the life of this connection."""
        unknown = self._denied is not None and self._denied.code == stream_wire.UNKNOWN_CHANNEL
        if not unknown and request.tries < _TRIES_ALONE:
            requests.append(request)
            return
        (channel,) = request.channels
        await self._queue.put(Refused(series=self._channels[channel].series, error=self._refusal(channel)))

    def _refusal(self, channel: Channel) -> ExchangeError:
        if self._denied is None:
            return ExchangeUnavailable(f"OKX does not answer whether it pushes {channel.name} of {channel.symbol}.")
        said, code = codes.quoted(self._denied.said), codes.quoted(self._denied.code)
        hint = "Look at the list of instruments; chandlery goes on without this series."
        return RequestRefused(f"OKX pushes no {channel.name} of {channel.symbol}: {code} {said}.", hint=hint, code=code)

    async def _ask(self, request: _Request) -> Sequence[Channel]:
        """Ask for the channels of one request; returns those that were not acknowledged."""
        await self._await_allowance()
        self._unanswered, self._denied = set(request.channels), None
        self._sent += 1
        await self._send(subscribe_request(self._sent, request.channels))
        try:
            async with asyncio.timeout(self._settings.answer_within_s):
                while self._unanswered and self._denied is None:
                    await self._next_answer()
        except TimeoutError:
            return self._left(request)
        if len(self._unanswered) > 1:
            await self._stragglers()
        return self._left(request)

    async def _stragglers(self) -> None:
        try:
            async with asyncio.timeout(_STRAGGLERS_S):
                while self._unanswered:
                    await self._next_answer()
        except TimeoutError:
            return

    async def _next_answer(self) -> None:
        self._answered.clear()
        await self._answered.wait()

    def _left(self, request: _Request) -> Sequence[Channel]:
        return [channel for channel in request.channels if channel in self._unanswered]

    async def _await_allowance(self) -> None:
        now = self._clock()
        await asyncio.sleep(self._allowance.next_start(now) - now)
        self._allowance.started(self._clock())
