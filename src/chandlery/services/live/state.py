"""What the tasks of one live run share: the tails, the counters, the threads of the store, and whether to stop."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from chandlery.domain.instrument import Series
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import UtcMs
from chandlery.services.live.store import LiveStore
from chandlery.services.live.tail import Tail
from chandlery.storage.writer import Delivery, SaveResult

T = TypeVar("T")

_LATENCIES = 10_000
"""So many of the newest latencies are kept."""


@dataclass(slots=True, kw_only=True)
class LiveProgress:
    """How a live run is doing, for whoever draws it; updated in place.

    ``now`` is up to when candles count as closed: the exchange's time less the grace for late pushes.
    ``latencies_s`` are seconds from the arrival of a confirmed candle to its commit, of the newest ones.
    ``unstored`` candles came while the store was away and there was no room for them: they are healed later.
    """

    tails: Mapping[Series, Tail] = field(default_factory=dict)
    now: UtcMs = 0
    result: SaveResult = field(default_factory=SaveResult)
    healed: int = 0
    losses: int = 0
    unreadable: int = 0
    unstored: int = 0
    waiting: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))

    def latency_s(self, share: float) -> float | None:
        """The latency that ``share`` of the candles did not exceed; None before the first."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class LiveState:
    """Shared by listening, storing and healing. ``clock`` is the one of the stream, in seconds."""

    def __init__(self, store: LiveStore) -> None:
        self.progress = LiveProgress()
        self.stopping = asyncio.Event()
        self.clock = time.monotonic
        self._store = store
        self.on_stored: Callable[[Sequence[Delivery]], None] = lambda _: None
        self.on_committed: Callable[[Sequence[float]], None] = lambda _: None
        # the store is synchronous; its threads are ours, so that a store that hangs blocks nobody else's
        self._threads = ThreadPoolExecutor(thread_name_prefix="chandlery-live", max_workers=4)

    @property
    def tails(self) -> Mapping[Series, Tail]:
        """All series, in the order asked for."""
        return self.progress.tails

    async def blocking(self, work: Callable[..., T], *arguments: object) -> T:
        """Run a call of the store in a thread, which knows what the error log is about."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work, *arguments)

    async def save(self, deliveries: Sequence[Delivery]) -> SaveResult:
        """Store candles, then take note of it and tell it on."""
        result = await self.blocking(self._store.save_all, deliveries)
        now_s = self.clock()
        for one in deliveries:
            self.tails[one.batch.series].learnt(one.covered, len(one.batch), now_s)
        self.progress.result += result
        self.on_stored(deliveries)
        return result

    async def covered(self, series: Series) -> Spans:
        """What the store knows of a series; others may write into it beside us."""
        return await self.blocking(self._store.covered, series)

    async def close(self) -> None:
        """Let the calls under way end, which is soon once the store was given up, and give the threads back."""
        await asyncio.to_thread(self._threads.shutdown)
