"""A pace that several programs share, because the exchange takes them for one: slots come from elsewhere.

They are taken a few at a time, as many as requests are waiting: so none is wasted, and not every request costs a
question. A slot is late when the next one has come: it is not used any more, or the requests of several programs would
bunch. The pacer of this process decides beside it, and alone where nobody keeps a shared pace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

TakeSlots = Callable[[str, float, int], Awaitable[float | None]]
"""Takes so many slots of an endpoint, so many seconds apart, for the caller alone: in how many seconds the first is, or
None if nobody keeps a shared pace now."""

_AT_ONCE_S = 1.0
"""So much of the pace is taken at once, or one slot; others wait no longer than that."""
_LATE_S = 0.1


class SlotsInHand:
    """The slots of one endpoint that this process has taken. Times are those of ``clock``, in seconds."""

    def __init__(self, take: TakeSlots, endpoint: str, interval_s: float, clock: Callable[[], float]) -> None:
        self._take = take
        self._endpoint = endpoint
        self._interval_s = interval_s
        self._most = max(1, int(_AT_ONCE_S / interval_s))
        self._clock = clock
        self._slots: deque[float] = deque()

    async def next_start(self, waiting: int) -> float:
        """When the next of ``waiting`` requests may start, or a time long past if nobody says so."""
        too_late = self._clock() - max(_LATE_S, self._interval_s)
        while self._slots and self._slots[0] < too_late:
            self._slots.popleft()
        if not self._slots:
            await self._take_more(min(waiting, self._most))
        return self._slots[0] if self._slots else float("-inf")

    def started(self) -> None:
        """A request has started at the next slot, or past it."""
        if self._slots:
            self._slots.popleft()

    async def _take_more(self, count: int) -> None:
        wait_s = await self._take(self._endpoint, self._interval_s, count)
        if wait_s is not None:
            first = self._clock() + wait_s
            self._slots.extend(first + number * self._interval_s for number in range(count))


async def nobody_shares(_endpoint: str, _interval_s: float, _count: int) -> float | None:
    """This process paces itself alone."""
    return None
