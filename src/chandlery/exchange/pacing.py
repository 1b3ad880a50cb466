"""Even pacing: when the next request may start, as arithmetic. Nothing in here sleeps or looks at a clock.

An exchange that allows 20 requests in 2 s refuses 20 at once, so requests start on a grid of evenly spaced slots, a
little slower than allowed. The slots are absolute times: whoever wakes up late for one does not push the next ones
back, and so the full rate is kept in spite of a coarse timer. Times are seconds of any clock that never runs backwards.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

CLOSEST = 0.75
"""No two requests start closer than this fraction of the regular interval, however late the first one was."""
WIDENING = 1.5
WIDEST = 4.0
RECOVERY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``requests`` in any ``window_s`` seconds, as an exchange documents it."""

    requests: int
    window_s: float


class Pacer:
    """Evenly spaced start times at ``share`` of a rate limit.

    One caller at a time asks for ``next_start``, waits until then, asks again because the answer may have moved, and
    reports the true start with ``started``. A slot that nobody used is lost, but for one at most, and never so much of
    it that more than ``limit.requests`` requests could start in any ``limit.window_s``.
    """

    def __init__(self, limit: RateLimit, *, share: float = 0.9) -> None:
        self.interval_s = limit.window_s / (limit.requests * share)
        self._window_s = limit.window_s
        # Half of what the share leaves free; the other half is for requests that travel faster than the one before.
        self._credit_s = self.interval_s * min(1.0, limit.requests * (1 - share) / 2)
        self._slot = self._last = self._held_until = float("-inf")
        self._widening, self._widened_at = 1.0, float("-inf")

    def spacing_s(self, now: float) -> float:
        """Seconds between two slots: ``interval_s``, or more for ``RECOVERY_S`` after the last refusal."""
        faded = min(1.0, max(0.0, (now - self._widened_at) / RECOVERY_S))
        return self.interval_s * (self._widening + (1.0 - self._widening) * faded)

    def next_start(self, now: float) -> float:
        """The earliest time, not before ``now``, at which the next request may start."""
        return max(now, self._slot, self._last + CLOSEST * self.interval_s, self._held_until)

    def started(self, now: float) -> None:
        """A request starts now, at or after ``next_start``."""
        self._slot = max(self._slot, now - self._credit_s) + self.spacing_s(now)
        self._last = now

    def slow_down(self, now: float, retry_after_s: float | None = None) -> None:
        """The exchange refused a request: none starts for ``retry_after_s``, by default for one window.

        The spacing then grows by half, up to fourfold, and returns to normal within ``RECOVERY_S``. Refusals that
        arrive while none may start belong to the same burst and widen nothing further.
        """
        if now >= self._held_until:
            self._widening = min(WIDEST, WIDENING * self.spacing_s(now) / self.interval_s)
        pause_s = max(self.interval_s, self._window_s if retry_after_s is None else retry_after_s)
        self._held_until = max(self._held_until, now + pause_s)
        self._widened_at = self._held_until
        self._slot = max(self._slot, self._held_until)


class Allowance:
    """So many starts in any window, at once if need be: for limits that only count and do not mind a burst."""

    def __init__(self, limit: RateLimit, *, share: float = 0.9) -> None:
        self._window_s = limit.window_s
        self._starts: deque[float] = deque(maxlen=max(1, int(limit.requests * share)))

    def next_start(self, now: float) -> float:
        """The earliest time, not before ``now``, at which the next request may start."""
        full = len(self._starts) == self._starts.maxlen
        return max(now, self._starts[0] + self._window_s) if full else now

    def started(self, now: float) -> None:
        """A request starts now, at or after ``next_start``."""
        self._starts.append(now)
