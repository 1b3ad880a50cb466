"""Deadlines of the client's own, for a server that hangs without closing the connection.

No TCP option helps there: the server's kernel goes on acknowledging. So while a connection is guarded, one watching
thread shuts its socket down when nothing was heard from the work for too long; the blocked call then fails as on any
lost connection. A connection that is only being made, or that hides its socket from us, cannot be shut down: there the
call is left alone in a thread of its own.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from chandlery.errors import ConnectionError
from chandlery.storage.failures import FailureClass

Result = TypeVar("Result")

_LOOK_EVERY_S = 0.25
_ATTEND_EVERY_S = 0.5


@dataclass(slots=True, kw_only=True, eq=False)
class _Guarded:
    connection: psycopg.Connection
    seconds: float
    renewed_at: float
    cut_after_s: float | None = None


class Deadline:
    """Guards connections: each must show progress (``renew``) at least every ``seconds``."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most_s = math.inf
        self._clock = clock
        self._guarded: dict[int, _Guarded] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def guard(self, connection: psycopg.Connection, seconds: float | None = None) -> Iterator[None]:
        """Watch ``connection`` while the block runs; ``seconds`` may shorten the deadline.

        Raises ConnectionError in place of the driver's error if the deadline cut the connection.
        """
        guarded = _Guarded(connection=connection, seconds=seconds or self._seconds, renewed_at=self._clock())
        with self._lock:
            self._guarded[id(connection)] = guarded
            self._ensure_watched()
        try:
            yield
        except psycopg.Error as error:
            if guarded.cut_after_s is not None:
                raise _no_answer(guarded.cut_after_s) from error
            raise
        finally:
            with self._lock:
                del self._guarded[id(connection)]

    def renew(self, connection: psycopg.Connection) -> None:
        """Say that work on a guarded ``connection`` has made progress."""
        with self._lock:
            self._guarded[id(connection)].renewed_at = self._clock()

    def hurry(self, most_s: float) -> None:
        """From now on no deadline is longer than ``most_s``, those already running included; infinity undoes it."""
        with self._lock:
            self._most_s = most_s
            now = self._clock()
            for guarded in self._guarded.values():
                guarded.renewed_at = max(guarded.renewed_at, now)

    def _ensure_watched(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="chandlery-deadline", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        """Runs while anything is guarded; the next guard starts it anew."""
        while True:
            time.sleep(_LOOK_EVERY_S)
            with self._lock:
                if not self._guarded:
                    self._thread = None
                    return
                now = self._clock()
                for guarded in self._guarded.values():
                    silent_s = now - guarded.renewed_at
                    if guarded.cut_after_s is None and silent_s > min(guarded.seconds, self._most_s):
                        guarded.cut_after_s = silent_s
                        # under the lock: nobody can close the connection now and have its number go to another one
                        _shut_down(guarded.connection)


def attended(
    work: Callable[[Callable[[], None]], Result],
    *,
    longest_silence_s: float,
    given_up: threading.Event,
    when_late: Callable[[Future[Result]], object],
) -> Result:
    """The result of ``work``, called in a thread of its own, which is left alone if it shows no progress for too long.

    ``work`` is given a function to call when it gets on. Nobody waits for it either once ``given_up`` is set; then or
    after too long a silence ConnectionError is raised, and whatever comes of it later goes to ``when_late``.
    """
    outcome: Future[Result] = Future()
    heard_at = [time.monotonic()]

    def progressed() -> None:
        heard_at[0] = time.monotonic()

    def call() -> None:
        try:
            outcome.set_result(work(progressed))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=call, name="chandlery-attended", daemon=True).start()
    while True:
        done, _ = wait([outcome], timeout=min(_ATTEND_EVERY_S, longest_silence_s))
        if done:
            return outcome.result()
        silent_s = time.monotonic() - heard_at[0]
        if given_up.is_set() or silent_s >= longest_silence_s:
            outcome.add_done_callback(when_late)
            raise _no_answer(silent_s)


def _no_answer(seconds: float) -> ConnectionError:
    return ConnectionError(
        f"PostgreSQL did not answer for {seconds:.1f} s.",
        hint="It hangs, or the network swallows its answers.",
        transient=True,
        kind=FailureClass.CONNECTION,
    )


def _shut_down(connection: psycopg.Connection) -> None:
    """Close the socket's both directions, which wakes the thread that waits on it."""
    with contextlib.suppress(psycopg.Error, OSError):
        duplicate = socket.fromfd(connection.fileno(), socket.AF_UNSPEC, socket.SOCK_STREAM)
        try:
            duplicate.shutdown(socket.SHUT_RDWR)
        finally:
            duplicate.close()
