"""The exchange's clock, kept on this machine: read now and then, carried on by a steady clock in between.

A step of this machine's wall clock does not move it. A reading is as old as its way through the network, so the kept
time never runs ahead of the exchange's. Ahead, it would take candles that do not exist yet for candles that never will.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from chandlery.domain.timeframe import UtcMs
from chandlery.errors import ExchangeError

SURPRISE_S = 2.0
"""A reading further than this from the expected time is not believed before it was asked for again."""

PATIENCE_S = 5.0
"""So long a reading that is due is waited for where an older one can serve: a stream stores candles meanwhile."""

Seconds = Callable[[], float]


class ExchangeClock:
    """Tells the exchange's time. ``read`` asks the exchange, in UTC milliseconds.

    ``wall_clock`` gives this machine's seconds since 1970 and is not trusted; ``steady_clock`` never steps. A reading
    serves for ``age_s`` seconds, and longer where no newer one comes within ``patience_s``. ``offset_s`` is the
    exchange's clock minus ours as last measured, 0 before.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[UtcMs]],
        *,
        wall_clock: Seconds,
        steady_clock: Seconds,
        age_s: float,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.offset_s = 0.0
        self._read, self._wall_clock, self._steady_clock = read, wall_clock, steady_clock
        self._age_s, self._patience_s = age_s, patience_s
        self._lead_s: float | None = None  # the exchange's UTC minus the steady clock
        self._due_at = float("-inf")
        self._asking = asyncio.Lock()

    async def now(self, *, fresh: bool = False) -> UtcMs:
        """UTC milliseconds; ``fresh`` reads it anew.

        Raises an ExchangeError if the exchange has never told its time and does not now.
        """
        async with self._asking:
            lead_s = self._lead_s
            if lead_s is None or fresh or self._steady_clock() >= self._due_at:
                lead_s = await self._refreshed(lead_s)
        return round((self._steady_clock() + lead_s) * 1000)

    async def _refreshed(self, known_s: float | None) -> float:
        try:
            async with asyncio.timeout(None if known_s is None else self._patience_s):
                lead_s = await self._measured(self._wall_lead_s() if known_s is None else known_s)
        except (ExchangeError, TimeoutError):
            if known_s is None:
                raise
            lead_s = known_s  # good for long: a steady clock drifts by a second or so a day
        else:
            self.offset_s = lead_s - self._wall_lead_s()
        self._lead_s, self._due_at = lead_s, self._steady_clock() + self._age_s
        return lead_s

    async def _measured(self, expected_s: float) -> float:
        """Of readings that surprise, the earliest."""
        lead_s = await self._lead()
        if abs(lead_s - expected_s) > SURPRISE_S:
            lead_s = min(lead_s, await self._lead(), await self._lead())
        return lead_s

    async def _lead(self) -> float:
        return await self._read() / 1000 - self._steady_clock()

    def _wall_lead_s(self) -> float:
        return self._wall_clock() - self._steady_clock()
