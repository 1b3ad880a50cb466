"""Subscribing the channels of one connection, and finding the one among them that the exchange does not have.

Requests go out one after another, so that an error, which does not tell what it is about, is known to belong to the
request under way. What a refused request leaves unanswered is halved and asked for again, until the one channel that
is wrong stands alone; all others are subscribed by then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from chandlery.errors import ExchangeError, ExchangeUnavailable, RequestRefused
from chandlery.exchange.event_queue import EventQueue
from chandlery.exchange.okx import codes, stream_wire
from chandlery.exchange.okx.stream_settings import StreamSettings
from chandlery.exchange.okx.subscriptions import Channel, Target, halves, lists, subscribe_request
from chandlery.exchange.pacing import Allowance
from chandlery.exchange.stream import Refused, StreamEvent, Subscribed

_TRIES_ALONE = 3
"""How often a channel that stands alone is asked for, unless it is said not to exist."""
_STRAGGLERS_S = 0.2
"""How long the channels of a refused request may still be acknowledged before they are asked for again."""


@dataclass(slots=True)
class _Request:
    """Channels to subscribe together, and how often they were asked for alone."""

    channels: Sequence[Channel]
    tries: int = 0


class Subscribing:
    """Asks for ``channels`` through ``send``; ``known`` gathers what was ever subscribed.

    Whoever reads the connection reports the answers with ``acknowledged`` and ``denied``. ``clock`` is in seconds and
    never runs backwards.
    """

    def __init__(
        self,
        channels: Mapping[Channel, Target],
        settings: StreamSettings,
        queue: EventQueue[StreamEvent],
        send: Callable[[str], Awaitable[None]],
        *,
        clock: Callable[[], float],
        known: set[Channel],
    ) -> None:
        self._channels, self._settings, self._queue, self._send = channels, settings, queue, send
        self._clock, self._known = clock, known
        self._allowance = Allowance(settings.requests, share=settings.share)
        self._unanswered: set[Channel] = set()
        self._denied: stream_wire.Denied | None = None
        self._answered = asyncio.Event()
        self._sent = 0

    def acknowledged(self, channel: Channel) -> None:
        """A channel is subscribed."""
        self._unanswered.discard(channel)
        self._answered.set()

    def denied(self, error: stream_wire.Denied) -> None:
        """A request was refused; one that is no longer under way has been dealt with."""
        if error.request in ("", str(self._sent)):
            self._denied = error
            self._answered.set()

    async def run(self) -> None:
        """Ask until each channel is subscribed or given up."""
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
