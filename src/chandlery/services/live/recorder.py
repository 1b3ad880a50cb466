"""Recording a stream: confirmed candles are stored in micro-batches as they come, and what never came is healed.

While one batch is being committed the next one gathers, so a store that is slow makes larger batches and not a longer
queue. Nothing needs a spool on disk: what is not in the ledger is read again, from the exchange that still has it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.errors import DatabaseError, ExchangeError
from chandlery.exchange.source import CandleSource
from chandlery.exchange.stream import CandleStream, Lost, Pushed, Refused, StreamEvent, Subscribed, Unreadable
from chandlery.services import error_log
from chandlery.services.judging import delivery_of
from chandlery.services.listed import chosen, delisted, not_listed_any_more
from chandlery.services.live.healing import Healer
from chandlery.services.live.state import LiveProgress, LiveState
from chandlery.services.live.store import LiveStore
from chandlery.services.live.tail import Tail, begins_at
from chandlery.services.live.waiting import MOST_WAITING, Waiting, WaitingRoom
from chandlery.storage.writer import Delivery

T = TypeVar("T")
Wanted = Sequence[tuple[Instrument, Series]]

GATHER_S = 0.02
"""Candles of one close arrive within moments of each other; so long one waits for the next."""

_CLOCK_TOLERANCE_MS = 2_000
"""Our reading of the exchange's clock may be that late; a candle that it calls confirmed has closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWanted:
    """What to record: ``since``, UTC milliseconds, is how far back each series must be complete; see ``begins_at``."""

    symbols: Sequence[str]
    timeframes: Sequence[Timeframe]
    since: UtcMs | None = None


class Recorder:
    """Records from a stream and the source that belongs to it into one store, until it is stopped.

    ``streaming`` makes the stream of the series that were chosen. ``grace_s`` is how long after its close a candle may
    still be pushed before it is read by REST; ``most_waiting`` is how many candles are kept while the store is away.
    """

    def __init__(
        self,
        source: CandleSource,
        streaming: Callable[[Wanted], CandleStream],
        store: LiveStore,
        *,
        grace_s: float,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._source = source
        self._streaming = streaming
        self._store = store
        self._state = LiveState(store)
        self._healer = Healer(source, self._state, grace_s=grace_s)
        self._room = WaitingRoom(most_waiting)
        self._some = asyncio.Event()

    @property
    def progress(self) -> LiveProgress:
        """How it is doing."""
        return self._state.progress

    def tell(self, on_stored: Callable[[Sequence[Delivery]], None]) -> None:
        """Let ``on_stored`` hear of everything stored from now on, in the event loop, after the commit."""
        self._state.on_stored = on_stored

    def time(self, on_committed: Callable[[Sequence[float]], None]) -> None:
        """Let ``on_committed`` hear how many seconds each pushed candle took from its arrival to its commit."""
        self._state.on_committed = on_committed

    def stop(self) -> None:
        """``run`` returns when what has arrived is stored, or its store does not answer; call it from the loop."""
        self._store.give_up()
        self._state.stopping.set()

    async def run(self, wanted: LiveWanted) -> None:
        """Record until ``stop``.

        Raises DataNotFoundError for a symbol that the exchange does not list and of which nothing is stored, naming
        near ones, an ExchangeError if the exchange cannot be reached at the start, and whatever keeps the store from
        storing.
        """
        try:
            series = await self._unless_stopped(self._begin(wanted))
            if series is not None:
                async with self._streaming(series) as stream:
                    await self._unless_stopped(self._record(stream))
                await self._store_the_rest()
        finally:
            await self._state.close()
            self._store.take_heart()

    async def _begin(self, wanted: LiveWanted) -> Wanted:
        instruments = await self._listed(wanted)
        await self._state.blocking(self._store.prepare, instruments)
        series = [
            (instrument, Series(self._source.exchange, instrument.symbol, timeframe))
            for instrument in instruments
            for timeframe in wanted.timeframes
        ]
        now = await self._source.now()
        self.progress.tails = {one: await self._tail(instrument, one, now, wanted) for instrument, one in series}
        return series

    async def _listed(self, wanted: LiveWanted) -> list[Instrument]:
        """The wanted instruments. One that was taken off the list is told of and left out, unless none is left."""
        exchange, listed = self._source.exchange, await self._source.instruments()
        gone = await delisted(wanted.symbols, wanted.timeframes, listed, exchange, self._state.covered)
        left = {series.symbol for series in gone}
        there = [symbol for symbol in wanted.symbols if symbol not in left]
        if gone and not there:
            raise not_listed_any_more(gone[0])
        for series in gone:
            with error_log.about(series):
                error_log.series_failed(not_listed_any_more(series))
        return chosen(there, listed, exchange)

    async def _tail(self, instrument: Instrument, series: Series, now: UtcMs, wanted: LiveWanted) -> Tail:
        covered = await self._state.blocking(self._store.covered, series)
        start = begins_at(series, covered, now, wanted.since)
        return Tail(instrument=instrument, series=series, begins_at=start, known=covered)

    async def _record(self, stream: CandleStream) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(stream))
            tasks.create_task(self._store_as_it_comes())
            tasks.create_task(self._healer.run())

    async def _listen(self, stream: CandleStream) -> None:
        while events := await stream.batch():
            for event in events:
                self._hear(event)

    def _hear(self, event: StreamEvent) -> None:
        tails, progress = self._state.tails, self.progress
        match event:
            case Pushed():
                self._take(event)
            case Subscribed():
                for series in event.series:
                    tails[series].pushed = True
                self._healer.at_once(event.series)
            case Lost():
                for series in event.series:
                    tails[series].pushed = False
                progress.losses += 1
                error_log.stream_lost(event.reason, len(event.series))
            case Refused():
                tails[event.series].pushed = False
                with error_log.about(event.series):
                    error_log.series_failed(event.error)
            case Unreadable():
                progress.unreadable += event.count
                error_log.stream_unreadable(event.reason, event.count, event.text)

    def _take(self, pushed: Pushed) -> None:
        self._state.tails[pushed.series].saw(pushed)
        if not pushed.confirmed:
            return
        if self._room.enter(pushed):
            self._some.set()
        else:
            self.progress.unstored += len(pushed.rows)
        self.progress.waiting = len(self._room)

    async def _store_as_it_comes(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_S)
            self._some.clear()
            await self._save_those(self._room.leave())
            if len(self._room):
                self._some.set()

    async def _save_those(self, waiting: Sequence[Waiting]) -> None:
        now = await self._now_for(waiting) + _CLOCK_TOLERANCE_MS
        await self._state.save([delivery_of(one.rows(), one.raw, now=now) for one in waiting])
        committed_s = self._state.clock()
        latencies_s = [committed_s - came for one in waiting for came in one.received_s]
        self.progress.latencies_s.extend(latencies_s)
        self._state.on_committed(latencies_s)
        self.progress.waiting = len(self._room)

    async def _now_for(self, waiting: Sequence[Waiting]) -> UtcMs:
        """The exchange's time. Where it calls a candle confirmed that is open by our reading of it, a fresh one."""
        now = await self._source.now()
        closes = max(
            one.series.timeframe.close_of(int(push.rows.open_time.max())) for one in waiting for push in one.pushes
        )
        return now if closes <= now + _CLOCK_TOLERANCE_MS else await self._source.now(fresh=True)

    async def _store_the_rest(self) -> None:
        """At the end: what has arrived is stored if the store is there; if it is not, the next run heals it."""
        with contextlib.suppress(DatabaseError, ExchangeError):
            while waiting := self._room.leave():
                await self._save_those(waiting)

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        """The outcome of ``work``, or None if ``stop`` comes first; what ``work`` raised is raised alone."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._state.stopping.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        except BaseExceptionGroup as group:
            raise _first_of(group) from None
        finally:
            stopping.cancel()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One error stands for all that ended a group of tasks: the others follow from it or say the same."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
