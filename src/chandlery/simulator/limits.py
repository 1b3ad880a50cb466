"""Rate limits that bite like the real ones: so many requests a window, and never too many of them at once.

A limit counts the accepted requests of one client address to one endpoint in a sliding window. A client that spends
them in a burst is refused although the window still has room: within a quarter of the window no more than half of
the limit is accepted. Evenly paced requests never meet that rule; twice the even pace does. Refused requests are not
counted, so a client that slows down is served again.

Times are seconds on any clock that only goes forward; ``now`` is an argument.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from chandlery.simulator.endpoints import CANDLES, FILE_LISTING, HISTORY, INSTRUMENTS, STATUS, TIME

_BURST_WINDOW_SHARE = 0.25
_BURST_LIMIT_SHARE = 0.5
_REMEMBERED_CLIENTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most ``requests`` requests in any ``window_s`` seconds."""

    requests: int
    window_s: float

    @property
    def burst_requests(self) -> int:
        """How many of them may come within ``burst_window_s``."""
        return max(1, int(self.requests * _BURST_LIMIT_SHARE))

    @property
    def burst_window_s(self) -> float:
        """Seconds in which ``burst_requests`` may come."""
        return self.window_s * _BURST_WINDOW_SHARE


DOCUMENTED_LIMITS: Mapping[str, Limit] = {
    CANDLES: Limit(requests=40, window_s=2.0),
    HISTORY: Limit(requests=20, window_s=2.0),
    INSTRUMENTS: Limit(requests=20, window_s=2.0),
    TIME: Limit(requests=10, window_s=2.0),
    STATUS: Limit(requests=1, window_s=5.0),
    FILE_LISTING: Limit(requests=5, window_s=2.0),
}
"""The exchange's documented limits by endpoint; those of instruments hold for each instType."""


class RateLimiter:
    """Remembers when whom was served; an endpoint without a limit is served always."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = limits
        self._served: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def wait_s(self, client: Hashable, endpoint: str, now: float) -> float:
        """0.0 if the request is accepted, and counted; else how many seconds the client must wait."""
        limit = self._limits.get(endpoint)
        if limit is None:
            return 0.0
        served = self._times(client, endpoint, limit)
        wait_s = max(
            _wait_s(served, limit.requests, limit.window_s, now),
            _wait_s(served, limit.burst_requests, limit.burst_window_s, now),
        )
        if wait_s <= 0.0:
            served.append(now)
        return max(0.0, wait_s)

    def _times(self, client: Hashable, endpoint: str, limit: Limit) -> deque[float]:
        key = (client, endpoint)
        served = self._served.setdefault(key, deque(maxlen=limit.requests))
        self._served.move_to_end(key)
        if len(self._served) > _REMEMBERED_CLIENTS:
            self._served.popitem(last=False)
        return served


def _wait_s(served: deque[float], requests: int, window_s: float, now: float) -> float:
    """How long until fewer than ``requests`` of the last requests lie within ``window_s``."""
    return served[-requests] + window_s - now if len(served) >= requests else 0.0
