"""Deadlines of the client's own, for a server that hangs without closing the connection.

No TCP option helps there: the server's kernel goes on acknowledging. So while a connection is guarded, one watching
thread shuts its socket down when nothing was heard from the work for too long; the blocked call then fails as on any
lost connection. A connection that is only being made has no socket to shut down: that call is left alone instead.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import psycopg

from chandlery.errors import ConnectionError
from chandlery.storage.failures import FailureClass

_LOOK_EVERY_S = 0.25


@dataclass(slots=True, kw_only=True, eq=False)
class _Guarded:
    connection: psycopg.Connection
    seconds: float
    renewed_at: float
    cut: bool = False


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
            if guarded.cut:
                raise _no_answer(guarded.seconds) from error
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
                    if not guarded.cut and now - guarded.renewed_at > min(guarded.seconds, self._most_s):
                        guarded.cut = True
                        # under the lock: nobody can close the connection now and have its number go to another one
                        _shut_down(guarded.connection)


def unless_given_up(
    connect: Callable[[], psycopg.Connection], given_up: threading.Event, look_every_s: float = 1.0
) -> psycopg.Connection:
    """The result of ``connect``, called in a thread of its own; once ``given_up`` is set nobody waits for it.

    Raises what ``connect`` raises, or ConnectionError.
    """
    outcome: Future[psycopg.Connection] = Future()

    def call() -> None:
        try:
            outcome.set_result(connect())
        except BaseException as error:
            outcome.set_exception(error)

    began = time.monotonic()
    threading.Thread(target=call, name="chandlery-connect", daemon=True).start()
    while True:
        try:
            return outcome.result(look_every_s)
        except TimeoutError:
            if given_up.is_set() and not outcome.done():
                outcome.add_done_callback(_close_if_made)
                raise _no_answer(time.monotonic() - began) from None


def _close_if_made(outcome: Future[psycopg.Connection]) -> None:
    if outcome.exception() is None:
        outcome.result().close()


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
