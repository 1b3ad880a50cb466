"""Backoff and circuit breaker: when to try again, as arithmetic. Nothing in here sleeps or looks at a clock.

Times are seconds of any clock that never runs backwards; every function that needs the time takes it as ``now``.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from enum import StrEnum

_LARGEST_EXPONENT = 60  # beyond it 2**n says nothing more, and at 1024 a float overflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential waits with full jitter: uniform up to ``base_s``, doubled per attempt, up to ``cap_s``."""

    base_s: float = 0.2
    cap_s: float = 5.0

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait before retry number ``attempt``, counted from 0."""
        ceiling = self.base_s * 2.0 ** min(attempt, _LARGEST_EXPONENT)
        return rng.uniform(0.0, min(self.cap_s, ceiling))


class BreakerState(StrEnum):
    """Whether calls pass: all of them, none of them, or one probe at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True, kw_only=True)
class CircuitBreaker:
    """Stops calls to a host that does not answer, and lets one probe at a time find out when it does again.

    ``failures_to_open`` failures in a row open it, for ``open_s`` at first and twice as long after every failed probe,
    up to ``longest_open_s``; ``jitter`` varies these times by that fraction, yet never below ``open_s``. One success
    closes it. Every ``may_try`` that said yes is followed by exactly one of ``succeeded``, ``failed`` or ``abandoned``.

    Report only failures that speak of the host: a refused request is a success of the connection. Safe to share
    between threads.
    """

    failures_to_open: int = 5
    open_s: float = 1.0
    longest_open_s: float = 5.0
    jitter: float = 0.2
    rng: random.Random = field(default_factory=random.Random)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _failures: int = field(default=0, init=False)
    _openings: int = field(default=0, init=False)
    _failing_since: float | None = field(default=None, init=False)
    _reopens_at: float = field(default=0.0, init=False)
    _probing: bool = field(default=False, init=False)

    def state(self, now: float) -> BreakerState:
        """What a call would meet now."""
        if not self._openings:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._reopens_at else BreakerState.HALF_OPEN

    @property
    def failing_since(self) -> float | None:
        """When it left the closed state, or None while it is closed."""
        return self._failing_since

    def may_try(self, now: float) -> bool:
        """Whether the caller may make its call now; half-open, one caller at a time hears yes."""
        with self._lock:
            state = self.state(now)
            if state is BreakerState.HALF_OPEN and not self._probing:
                self._probing = True
                return True
            return state is BreakerState.CLOSED

    def wait_s(self, now: float) -> float:
        """How long to wait before asking ``may_try`` again: 0 if it would say yes."""
        with self._lock:
            if self.state(now) is BreakerState.OPEN:
                return self._reopens_at - now
            return self.open_s / 10 if self._probing else 0.0

    def succeeded(self, now: float) -> None:  # noqa: ARG002 - the three reports are called alike
        """The host answered."""
        with self._lock:
            self._failures = self._openings = 0
            self._failing_since = None
            self._probing = False

    def failed(self, now: float, *, began: float | None = None) -> None:
        """The host did not answer the call for which ``may_try(began)`` said yes, None meaning the latest one.

        A call that began before the breaker opened tells nothing new and changes nothing.
        """
        with self._lock:
            if not self._openings:
                self._failures += 1
                if self._failures >= self.failures_to_open:
                    self._failing_since = now
                    self._open(now)
            elif self._is_probe(began):
                self._open(now)

    def abandoned(self, *, began: float | None = None) -> None:
        """The call for which ``may_try(began)`` said yes ended without telling anything, as a cancelled one does."""
        with self._lock:
            if self._is_probe(began):
                self._probing = False

    def _is_probe(self, began: float | None) -> bool:
        return self._probing and (began is None or began >= self._reopens_at)

    def _open(self, now: float) -> None:
        nominal_s = min(self.longest_open_s, self.open_s * 2.0 ** min(self._openings, _LARGEST_EXPONENT))
        length_s = max(self.open_s, nominal_s * self.rng.uniform(1 - self.jitter, 1))
        self._openings += 1
        self._probing = False
        self._reopens_at = now + length_s
