"""The candle stream of the simulated exchange: its connections, and what clients may say on them.

    {"id": "1", "op": "subscribe", "args": [{"channel": "candle1m", "instId": "BTC-USDT"}]}

Each channel is acknowledged on its own and its open candle is pushed at once. From then on the open candle is pushed
at most once a second, and every candle when it has closed.

Assumed where the exchange's behaviour is not documented: the good channels of a request are subscribed although others
of it are refused; a request over the limit is answered with 60014 and subscribes nothing; too long a list of channels
closes the connection with 4008, and a client that does not read has it closed with 4005.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterable

import msgspec
from aiohttp import WSMsgType, web

from chandlery.simulator.clock import Clock
from chandlery.simulator.feed import Feed
from chandlery.simulator.limits import Limit, RateLimiter
from chandlery.simulator.market import Market
from chandlery.simulator.stream_faults import AT_CHANNEL, AT_REQUEST, StreamFaults
from chandlery.simulator.stream_journal import Connection, StreamJournal
from chandlery.simulator.subscriber import LARGEST_LIST, NO_DATA, TOO_MANY_CHANNELS, Subscriber
from chandlery.simulator.topics import Channel

STREAM = "/ws/v5/business"
CONNECTS = Limit(requests=3, window_s=1.0)
"""Connections that one address may begin."""

_LARGEST_REQUEST = 128 * 1024
_CLOSE_WITHIN_S = 0.5


class _Argument(msgspec.Struct, rename="camel"):
    channel: str
    inst_id: str


class _Request(msgspec.Struct):
    op: str
    args: list[_Argument]
    id: str | None = None


class Streams:
    """All connections of the stream. ``limited`` turns the documented limits on; ``idle_s`` is in real seconds."""

    def __init__(
        self,
        market: Market,
        *,
        clock: Clock,
        faults: StreamFaults,
        limited: bool,
        idle_s: float,
    ) -> None:
        self.faults, self.journal = faults, StreamJournal()
        self._clock, self._limited, self._idle_s = clock, limited, idle_s
        self._feed = Feed(market, clock, faults, self.journal)
        self._limiter = RateLimiter({STREAM: CONNECTS} if limited else {})
        self._open: set[Subscriber] = set()
        self._numbers = itertools.count(1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        if self._limiter.wait_s(request.remote or "", STREAM, time.monotonic()):
            return web.Response(status=429, text="Too Many Requests")
        socket = web.WebSocketResponse(max_msg_size=_LARGEST_REQUEST, timeout=_CLOSE_WITHIN_S, compress=False)
        await socket.prepare(request)
        entry = Connection(conn_id=f"{next(self._numbers):08x}", opened_at=self._clock.now())
        self.journal.connections.append(entry)
        subscriber = Subscriber(socket, request, entry, time.monotonic)
        self._open.add(subscriber)
        watching = asyncio.create_task(self._watch(subscriber))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._take(subscriber, message.data)
        finally:
            watching.cancel()
            self._forget(subscriber)
            await subscriber.end()
        return socket

    def drop(self) -> int:
        """Cut all connections, and tell how many."""
        dropped = list(self._open)
        for subscriber in dropped:
            subscriber.cut()
        return len(dropped)

    async def stop(self) -> None:
        """Push nothing more."""
        await self._feed.stop()

    async def _watch(self, subscriber: Subscriber) -> None:
        """Close a connection on which nothing happens."""
        while True:
            left_s = self._idle_s - subscriber.idle_s
            if left_s <= 0:
                subscriber.close(NO_DATA, f"No data received in {self._idle_s:g}s.")
                return
            await asyncio.sleep(left_s)

    def _forget(self, subscriber: Subscriber) -> None:
        self._open.discard(subscriber)
        for channel in subscriber.channels:
            self._feed.remove(channel, subscriber)
        subscriber.entry.closed_at = self._clock.now()

    def _take(self, subscriber: Subscriber, text: str) -> None:
        if subscriber.silent:
            return
        subscriber.heard()
        if text == "ping":
            subscriber.entry.pings += 1
            subscriber.send("pong")
            return
        try:
            request = msgspec.json.decode(text, type=_Request)
        except (msgspec.DecodeError, RecursionError):
            request = None
        if request is None or request.op not in ("subscribe", "unsubscribe") or not request.args:
            _say(subscriber, None, event="error", code="60012", msg=f"Invalid request: {text[:200]}")
            return
        subscriber.entry.requests += 1
        self._serve(subscriber, request, text)

    def _serve(self, subscriber: Subscriber, request: _Request, text: str) -> None:
        if self._limited and not subscriber.may_request():
            _say(subscriber, request, event="error", code="60014", msg="Requests too frequent")
        elif self.faults.next(AT_REQUEST) is not None:
            _say(subscriber, request, event="error", code="60012", msg=f"Invalid request: {text[:200]}")
        else:
            for argument in request.args:
                channel = Channel(argument.channel, argument.inst_id)
                (self._subscribe if request.op == "subscribe" else self._unsubscribe)(subscriber, request, channel)
            if self._limited and _list_size(subscriber.channels) > LARGEST_LIST:
                subscriber.close(TOO_MANY_CHANNELS, "The number of subscribed channels exceeds the maximum limit.")

    def _subscribe(self, subscriber: Subscriber, request: _Request, channel: Channel) -> None:
        if self.faults.next(AT_CHANNEL, channel) is not None or not self._feed.add(channel, subscriber):
            said = f"Wrong URL or channel:{channel.name},instId:{channel.inst_id} doesn't exist. Please use the"
            said += " correct URL, channel and parameters referring to API document."
            _say(subscriber, request, event="error", code="60018", msg=said)
            return
        subscriber.channels.add(channel)
        subscriber.entry.channels.append(channel)
        _say(subscriber, request, event="subscribe", arg=channel)
        self._feed.greet(channel, subscriber)

    def _unsubscribe(self, subscriber: Subscriber, request: _Request, channel: Channel) -> None:
        if channel in subscriber.channels:
            subscriber.channels.discard(channel)
            self._feed.remove(channel, subscriber)
        _say(subscriber, request, event="unsubscribe", arg=channel)


def _say(subscriber: Subscriber, request: _Request | None, *, arg: Channel | None = None, **fields: str) -> None:
    """Answer a request, bearing its id if it has one."""
    document: dict[str, object] = {} if request is None or request.id is None else {"id": request.id}
    document |= fields
    if arg is not None:
        document["arg"] = {"channel": arg.name, "instId": arg.inst_id}
    subscriber.send(json.dumps(document | {"connId": subscriber.entry.conn_id}, separators=(",", ":")))


def _list_size(channels: Iterable[Channel]) -> int:
    """The bytes of a list of channels as clients send it."""
    overhead = len('{"channel":"","instId":""},')
    return sum(len(channel.name) + len(channel.inst_id) + overhead for channel in channels)
