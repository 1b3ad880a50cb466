"""Trying again: which failures of the database are waited out, for how long, and how seldom it is asked meanwhile.

What is repeated is always a whole transaction on data in memory. A transient failure is tried again after a backoff
with full jitter; failures that speak of the server itself open the circuit breaker, and then all callers together
make one attempt at a time until it answers. Time, sleep and chance are arguments, so that no test has to wait.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from chandlery.domain.resilience import Backoff, CircuitBreaker
from chandlery.errors import DatabaseError
from chandlery.storage.failures import FailureClass

Result = TypeVar("Result")

LONGEST_OPEN_S = 4.0
"""The breaker's longest pause: with the attempt that ends it, work goes on within 5 s of the server's return."""

SECONDS_BETWEEN_CONNECTS = 1.0
"""After a failed attempt to connect, the next one of this process comes no sooner."""

_OF_THE_SERVER = frozenset({FailureClass.CONNECTION, FailureClass.RESOURCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """A failure that is being waited out. ``attempt`` counts from 1; ``wait_s`` is the pause before the next one."""

    error: DatabaseError
    attempt: int
    wait_s: float
    breaker_open: bool


class Persistence:
    """Repeats work until it succeeds, fails for good, or ``patience_s`` has passed since its first failure.

    ``patience_s`` may be infinite. ``on_setback`` is called in the thread that waits, before it waits.
    """

    def __init__(
        self,
        *,
        patience_s: float,
        on_setback: Callable[[Setback], None] | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """``sleep`` None waits on the event ``given_up``, so that a stopped program does not wait."""
        self.patience_s = patience_s
        self.on_setback = on_setback
        self.given_up = threading.Event()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._backoff = backoff or Backoff()
        self._breaker = CircuitBreaker(longest_open_s=LONGEST_OPEN_S, rng=self._rng)
        self._clock = clock
        self._sleep = sleep or self.given_up.wait
        self._turn = threading.Lock()
        self._next_connect = float("-inf")
        self._ailment: DatabaseError | None = None

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker of this database, for those who show its state."""
        return self._breaker

    def give_up(self) -> None:
        """Wait for nothing any more: what fails now is raised at once, and a server that failed is not asked again."""
        self.given_up.set()

    def take_heart(self) -> None:
        """Undo ``give_up``."""
        self.given_up.clear()

    def run(self, work: Callable[[], Result]) -> Result:
        """The result of ``work``. Raises its DatabaseError when it is final or the patience is at an end.

        ``work`` must not call ``run`` itself: as the breaker's one probe it would wait for itself.
        """
        failing_since: float | None = None
        attempt = 0
        while True:
            self._wait_for_breaker(failing_since)
            began = self._clock()
            try:
                result = work()
            except DatabaseError as error:
                self._report(error, began)
                failing_since = began if failing_since is None else failing_since
                if not error.transient or self._out_of_patience(failing_since):
                    raise
                self._pause(error, attempt)
                attempt += 1
            except BaseException:
                self._breaker.abandoned(began=began)
                raise
            else:
                self._answered()
                return result

    def connecting(self, connect: Callable[[], Result]) -> Result:
        """Make one attempt to connect, one at a time, and not within a second of a failed one."""
        with self._turn:
            self._raise_if_given_up()
            wait_s = self._next_connect - self._clock()
            if wait_s > 0:
                self._sleep(wait_s)
            try:
                return connect()
            except DatabaseError as error:
                self._next_connect = self._clock() + SECONDS_BETWEEN_CONNECTS
                self._ailment = error  # known before the next in line has its turn
                raise

    def _wait_for_breaker(self, failing_since: float | None) -> None:
        since = self._clock() if failing_since is None else failing_since
        while True:
            self._raise_if_given_up()
            if self._breaker.may_try(self._clock()):
                return
            if self._ailment is not None and self._out_of_patience(since):
                raise self._ailment
            self._sleep(max(self._breaker.wait_s(self._clock()), 0.01))

    def _raise_if_given_up(self) -> None:
        if self._ailment is not None and self.given_up.is_set():
            raise self._ailment

    def _report(self, error: DatabaseError, began: float) -> None:
        """Only what speaks of the server's health counts; a refused row is an answer like any other."""
        if error.kind in _OF_THE_SERVER:
            self._ailment = error
            self._breaker.failed(self._clock(), began=began)
        elif error.sqlstate is not None:
            self._answered()
        else:
            self._breaker.abandoned(began=began)

    def _answered(self) -> None:
        self._ailment = None
        self._breaker.succeeded(self._clock())

    def _pause(self, error: DatabaseError, attempt: int) -> None:
        open_s = self._breaker.wait_s(self._clock())
        # an open breaker has its own clock; a backoff on top of it would only delay the return
        wait_s = open_s or self._backoff.delay_s(attempt, self._rng)
        if self.on_setback is not None:
            self.on_setback(Setback(error=error, attempt=attempt + 1, wait_s=wait_s, breaker_open=open_s > 0))
        self._sleep(wait_s)

    def _out_of_patience(self, since: float) -> bool:
        return self.given_up.is_set() or self._clock() - since >= self.patience_s
