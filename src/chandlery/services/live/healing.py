"""Healing: whatever has closed and is not known a little later is read from the exchange by REST.

One rule for every way in which a stream fails: the start, a lost connection, a confirmation that never came, candles
that found no room while the store was away. All of them leave bars that have closed and are not known.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from chandlery.domain.instrument import Series
from chandlery.domain.resilience import Backoff
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import ExchangeError
from chandlery.exchange.source import CandleSource
from chandlery.services import error_log
from chandlery.services.judging import delivery_of
from chandlery.services.live.state import LiveState
from chandlery.services.live.tail import Tail

_LOOK_EVERY_S = 0.2
_LANES = 6
"""Series under repair at once: enough to keep the permitted rate, which is the source's affair."""


@dataclass(slots=True)
class _Attempts:
    """How often a series was tried in vain, and when it may be tried again."""

    count: int = 0
    next_s: float = float("-inf")


class Healer:
    """Looks at all tails again and again and reads what they miss.

    ``grace_s`` is how long after its close a candle may still be pushed.
    """

    def __init__(self, source: CandleSource, state: LiveState, *, grace_s: float) -> None:
        self._source = source
        self._state = state
        self._grace_ms = round(grace_s * 1000)
        self._lanes = asyncio.Semaphore(_LANES)
        self._attempts: dict[Series, _Attempts] = {}
        self._under_repair: set[Series] = set()
        self._backoff = Backoff(base_s=2.0, cap_s=60.0)
        self._rng = random.Random()  # noqa: S311 - jitter, no secret

    async def run(self) -> None:
        """Heal until cancelled. Raises what keeps the store from storing."""
        async with asyncio.TaskGroup() as repairs:
            while True:
                until = self._state.progress.now = await self._settled_until()
                for tail in self._due(until):
                    self._under_repair.add(tail.series)
                    repairs.create_task(self._repair(tail, until))
                await asyncio.sleep(_LOOK_EVERY_S)

    def at_once(self, series: tuple[Series, ...]) -> None:
        """These are pushed again: what they missed meanwhile need not wait for its next turn."""
        for one in series:
            self._attempts.pop(one, None)

    def _due(self, until: UtcMs) -> list[Tail]:
        return [tail for tail in self._state.tails.values() if self._may_try(tail) and tail.missing(until)]

    def _may_try(self, tail: Tail) -> bool:
        attempts = self._attempts.get(tail.series)
        return tail.series not in self._under_repair and (attempts is None or attempts.next_s <= self._state.clock())

    async def _settled_until(self) -> UtcMs:
        """What closed before this time is not pushed any more; waits while the exchange does not tell its time."""
        while True:
            try:
                return await self._source.now() - self._grace_ms
            except ExchangeError as error:
                error_log.series_failed(error)
                await asyncio.sleep(self._backoff.base_s)

    async def _repair(self, tail: Tail, until: UtcMs) -> None:
        try:
            async with self._lanes:
                with error_log.about(tail.series):
                    await self._read(tail, until)
        except ExchangeError as error:
            with error_log.about(tail.series):
                error_log.series_failed(error)
        finally:
            self._under_repair.discard(tail.series)
        self._take_note(tail, until)

    async def _read(self, tail: Tail, until: UtcMs) -> None:
        """Ask for what is missing, newest first; another writer may have stored some of it meanwhile."""
        tail.known |= await self._state.covered(tail.series)
        for asked in self._source.pages(tail.series, tail.missing(until)):
            page = await self._source.page(tail.instrument, tail.series, asked)
            delivery = delivery_of(page.rows, page.raw, now=await self._source.now(), answered=page.answered)
            result = await self._state.save([delivery])
            tail.healed += result.inserted
            self._state.progress.healed += result.inserted

    def _take_note(self, tail: Tail, until: UtcMs) -> None:
        """What was in vain is tried again later and later: the exchange may need time to know a candle for certain."""
        if not tail.missing(until):
            self._attempts.pop(tail.series, None)
            return
        attempts = self._attempts.setdefault(tail.series, _Attempts())
        attempts.next_s = self._state.clock() + 1.0 + self._backoff.delay_s(attempts.count, self._rng)
        attempts.count += 1
