"""The pushes of the candle stream: what is due, to whom, and what a fault makes of it.

The seconds in here are real ones, however fast the exchange's clock runs: nothing but the candles depends on that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from chandlery.simulator.clock import Clock
from chandlery.simulator.market import Market
from chandlery.simulator.stream_faults import AT_PUSH, ArmedStreamFault, StreamFaultKind, StreamFaults
from chandlery.simulator.stream_journal import SpoiltConfirm, StreamJournal
from chandlery.simulator.subscriber import UPGRADED, Subscriber
from chandlery.simulator.topics import Channel, Confirm, Topic, topic_of

_LOOK_EVERY_S = 0.02
_RUNNING_EVERY_S = 1.0
_RUNNING_SHARE = 0.2
"""The share of a core that running candles may take: they are many, and dear in coarse bars."""
_AT_A_TIME = 32
_LATE_S = _NOTICE_S = 1.0
_FOR_EVER_S = float("inf")
_UPGRADE = (
    '{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. '
    'Please reconnect.","connId":"%s"}'
)


class Feed:
    """Pushes the candles of ``market`` to the subscribers of each topic, from the first subscription to ``stop``."""

    def __init__(self, market: Market, clock: Clock, faults: StreamFaults, journal: StreamJournal) -> None:
        self._market, self._clock, self._faults, self._journal = market, clock, faults, journal
        self._topics: dict[Channel, Topic] = {}
        self._listeners: dict[Channel, set[Subscriber]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, channel: Channel, subscriber: Subscriber) -> bool:
        """Subscribe, and push the open candle at once; False if there is no such channel."""
        topic = self._topics.get(channel) or topic_of(self._market, channel, self._clock.now())
        if topic is None:
            return False
        self._topics[channel] = topic
        self._listeners.setdefault(channel, set()).add(subscriber)
        self._start()
        return True

    def greet(self, channel: Channel, subscriber: Subscriber) -> None:
        """Push the open candle to one subscriber."""
        text = self._topics[channel].running(self._clock.now())
        if text is not None:
            subscriber.send(text)

    def remove(self, channel: Channel, subscriber: Subscriber) -> None:
        """Unsubscribe; a topic that nobody listens to is forgotten."""
        listeners = self._listeners.get(channel, set())
        listeners.discard(subscriber)
        if not listeners:
            self._listeners.pop(channel, None)
            self._topics.pop(channel, None)

    async def stop(self) -> None:
        """Push nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._push_confirms()), asyncio.create_task(self._push_running())]

    async def _push_confirms(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            async for topic in self._each_topic():
                for confirm in topic.confirms(self._clock.now()):
                    self._confirm(topic.channel, confirm)

    async def _push_running(self) -> None:
        took_s = 0.0
        while True:
            await asyncio.sleep(max(_RUNNING_EVERY_S, took_s / _RUNNING_SHARE) - took_s)
            began = time.perf_counter()
            async for topic in self._each_topic():
                text = topic.running(self._clock.now())
                if text is not None:
                    self._push(topic.channel, text)
            took_s = time.perf_counter() - began

    async def _each_topic(self) -> AsyncIterator[Topic]:
        """Every topic that has listeners, with a chance for others to run in between."""
        for number, channel in enumerate(list(self._topics), 1):
            topic = self._topics.get(channel)
            if topic is not None:
                yield topic
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _confirm(self, channel: Channel, confirm: Confirm) -> None:
        fault = self._faults.at_confirm(channel, confirm.open_time)
        if fault is None:
            self._push(channel, confirm.text, confirm)
            return
        self._note(channel, confirm, fault.kind)
        if fault.kind is StreamFaultKind.LATE_CONFIRM:
            late_s = _LATE_S if fault.duration_s is None else fault.duration_s
            asyncio.get_running_loop().call_later(late_s, self._push, channel, confirm.text, confirm)
        elif fault.kind is StreamFaultKind.DOUBLED_CONFIRM:
            self._push(channel, confirm.text, confirm)
            self._push(channel, confirm.text, confirm)

    def _push(self, channel: Channel, text: str, confirm: Confirm | None = None) -> None:
        fault = self._faults.next(AT_PUSH, channel)
        if fault is not None and confirm is not None:
            self._note(channel, confirm, fault.kind)
        for subscriber in list(self._listeners.get(channel, ())):
            if fault is not None and fault.kind in _ENDINGS:
                _ENDINGS[fault.kind](subscriber, fault)
            elif subscriber.send(_damaged(text, fault)) and confirm is not None and fault is None:
                subscriber.entry.confirms += 1
                self._journal.confirms += 1

    def _note(self, channel: Channel, confirm: Confirm, kind: StreamFaultKind) -> None:
        self._journal.spoilt.append(SpoiltConfirm(channel.name, channel.inst_id, confirm.open_time, kind))


def _damaged(text: str, fault: ArmedStreamFault | None) -> str:
    if fault is None:
        return text
    return text[: len(text) // 2] if fault.kind is StreamFaultKind.TRUNCATED else "\x00\x01 <html> no JSON \ufffd"


def _silence(subscriber: Subscriber, fault: ArmedStreamFault) -> None:
    subscriber.fall_silent(_FOR_EVER_S if fault.duration_s is None else fault.duration_s)


def _drop(subscriber: Subscriber, _fault: ArmedStreamFault) -> None:
    subscriber.cut()


def _notice(subscriber: Subscriber, fault: ArmedStreamFault) -> None:
    subscriber.send(_UPGRADE % subscriber.entry.conn_id)
    after_s = _NOTICE_S if fault.duration_s is None else fault.duration_s
    asyncio.get_running_loop().call_later(after_s, subscriber.close, UPGRADED, "Service upgrade.")


_ENDINGS: dict[StreamFaultKind, Callable[[Subscriber, ArmedStreamFault], None]] = {
    StreamFaultKind.SILENCE: _silence,
    StreamFaultKind.DROP: _drop,
    StreamFaultKind.NOTICE: _notice,
}
