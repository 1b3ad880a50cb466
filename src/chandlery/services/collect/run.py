"""What the jobs of one collection share: what is wanted, how far it got, and whether to stop."""

from __future__ import annotations

import asyncio
import contextvars
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.errors import ChandleryError
from chandlery.exchange.source import CandleSource
from chandlery.services.outputs import Output
from chandlery.storage.writer import SaveResult

T = TypeVar("T")


class Bulk(StrEnum):
    """Whether to use the exchange's files of candles: where that saves requests, never, or nothing else."""

    AUTO = "auto"
    NEVER = "never"
    ONLY = "only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to collect: times in UTC milliseconds; ``since`` None is the start of history, ``until`` None is now.

    Candles of coarser timeframes than ``roll_up_from`` are made of stored ones of that, where those are whole.
    """

    symbols: Sequence[str]
    timeframes: Sequence[Timeframe]
    since: UtcMs | None = None
    until: UtcMs | None = None
    bulk: Bulk = Bulk.NEVER
    roll_up_from: Timeframe | None = None

    def source_of(self, timeframe: Timeframe) -> Timeframe | None:
        """The finer timeframe of which candles of ``timeframe`` are to be made, or None if they are only fetched."""
        finer = self.roll_up_from
        return finer if finer is not None and finer != timeframe and timeframe.made_of(finer) else None


@dataclass(slots=True, kw_only=True)
class SeriesReport:
    """How one series came out; filled in while it is collected.

    ``wanted`` is None if the exchange has nothing in the time asked for. ``missing`` is what is still not covered of
    it at the end. ``derived`` is how many of the stored candles were made of finer ones. ``finished`` is false if the
    run stopped before it could tell.
    ``from_files`` is how many candles came from files.
    """

    series: Series
    wanted: Span | None = None
    missing: Spans = field(default_factory=Spans)
    pages: int = 0
    from_files: int = 0
    derived: int = 0
    result: SaveResult = field(default_factory=SaveResult)
    error: ChandleryError | None = None
    finished: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything wanted is covered now."""
        return self.finished and not self.missing and self.error is None

    @property
    def worth_repeating(self) -> bool:
        """Whether the same run again may bring what is missing: not what the exchange has no more or refuses."""
        return not self.complete and (self.error is None or self.error.transient)


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a run has done so far, for whoever draws it; the collector updates it in place.

    ``pages_planned`` grows as series are planned; ``under_way`` are the series being collected now.
    """

    series_planned: int = 0
    series_done: int = 0
    pages_planned: int = 0
    pages_done: int = 0
    result: SaveResult = field(default_factory=SaveResult)
    under_way: list[Series] = field(default_factory=list)


class Run:
    """What the jobs of one run share: where from, where to, how far, and whether to stop."""

    def __init__(self, source: CandleSource, output: Output, wanted: Wanted, watch: Callable[[Progress], None]) -> None:
        self.source = source
        self.output = output
        self.wanted = wanted
        self.progress = Progress()
        self.stopping = asyncio.Event()
        self.failure: ChandleryError | None = None
        self.now: UtcMs = 0
        self._probing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._watch = watch
        # the stores are synchronous; their threads are ours, so that a store that hangs blocks nobody else's
        self._threads = ThreadPoolExecutor(thread_name_prefix="chandlery-store", max_workers=16)

    def fail(self, error: ChandleryError) -> None:
        """Nothing more can be stored: stop all jobs; ``Collector.run`` raises the first such error.

        A run that is stopping waits for no store that is away, so there it is no failure of the run.
        """
        if not self.stopping.is_set():
            self.failure = error
            self.stopping.set()

    def probing(self, symbol: str) -> asyncio.Lock:
        """Timeframes of one instrument look for their beginning one by one: the next knows what the last has found."""
        return self._probing[symbol]

    def moved(self) -> None:
        """Tell the watcher that the progress changed."""
        self._watch(self.progress)

    async def stored(self, work: Callable[..., T], *arguments: object) -> T:
        """Run a blocking call of the output in a thread, which knows what the error log is about."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work, *arguments)

    async def unless_stopped(self, fetch: Awaitable[T]) -> T | None:
        """The outcome of ``fetch``, or None if the run stops before: a fetch is given up, a write never."""
        task = asyncio.ensure_future(fetch)
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            stopping.cancel()
            task.cancel()

    def close(self) -> None:
        """Give the threads back."""
        self._threads.shutdown(wait=False)
