"""What time it is at the simulated exchange; UTC milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from chandlery.domain.timeframe import UtcMs
from chandlery.errors import ConfigurationError


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> UtcMs:
        """The time, UTC milliseconds."""
        ...


class RealClock:
    """The time of this machine."""

    def now(self) -> UtcMs:
        """The time, UTC milliseconds."""
        return time.time_ns() // 1_000_000


class FixedClock:
    """Stands still until it is told to move."""

    def __init__(self, now: UtcMs) -> None:
        self._now = now

    def now(self) -> UtcMs:
        """The time, UTC milliseconds."""
        return self._now

    def advance(self, by_ms: int) -> None:
        """Move the time forward by ``by_ms`` milliseconds."""
        self._now += by_ms


class RunningClock:
    """Starts at ``start_at`` and runs ``speed`` times as fast as ``monotonic``, a clock in seconds.

    It stops at ``end_at``, if there is one. Raises ConfigurationError for a speed below zero.
    """

    def __init__(
        self,
        start_at: UtcMs,
        speed: float = 1.0,
        *,
        end_at: UtcMs | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if speed < 0:
            raise ConfigurationError(
                f"A clock cannot run at speed {speed}.",
                hint="Use 1 for real time, 60 for a minute a second, 0 to stop it.",
            )
        self._start_at, self._speed, self._end_at, self._monotonic = start_at, speed, end_at, monotonic
        self._started_s = monotonic()

    def now(self) -> UtcMs:
        """The time, UTC milliseconds."""
        now = self._start_at + int((self._monotonic() - self._started_s) * 1_000 * self._speed)
        return now if self._end_at is None else min(now, self._end_at)


def clock_for(ends_at: UtcMs | None, *, start_at: UtcMs | None = None, speed: float = 1.0) -> Clock:
    """The clock that suits a market whose last candle closes at ``ends_at``, None for an endless one.

    It starts at ``start_at``, runs at ``speed`` and stops where the market ends. Without ``start_at`` an endless market
    has the real time, and one that ends stands still at its end.
    """
    if start_at is not None:
        return RunningClock(start_at, speed, end_at=ends_at)
    if speed != 1.0:
        raise ConfigurationError(f"A clock of speed {speed} must start somewhere.", hint="Say when it starts.")
    return RealClock() if ends_at is None else FixedClock(ends_at)
