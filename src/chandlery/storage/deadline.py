"""A deadline of the client's own, for a server that hangs without closing the connection.

No TCP option helps there: the server's kernel goes on acknowledging. So while a connection is guarded, one watching
thread shuts its socket down when nothing was heard from the work for too long; the blocked call then fails as on any
lost connection.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psycopg

_LOOK_EVERY_S = 0.25


class Deadline:
    """Guards connections: each must show progress (``renew``) at least every ``seconds``."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._guarded: dict[int, tuple[psycopg.Connection, float]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def guard(self, connection: psycopg.Connection, seconds: float | None = None) -> Iterator[None]:
        """Watch ``connection`` while the block runs; ``seconds`` may shorten the deadline."""
        self.renew(connection, seconds)
        try:
            yield
        finally:
            with self._lock:
                self._guarded.pop(id(connection), None)

    def renew(self, connection: psycopg.Connection, seconds: float | None = None) -> None:
        """Say that work on ``connection`` has made progress."""
        with self._lock:
            self._guarded[id(connection)] = (connection, self._clock() + (seconds or self.seconds))
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
                late = [key for key, (_, at) in self._guarded.items() if at < now]
                connections = [self._guarded.pop(key)[0] for key in late]
            for connection in connections:
                _shut_down(connection)


def _shut_down(connection: psycopg.Connection) -> None:
    """Close the socket's both directions, which wakes the thread that waits on it."""
    with contextlib.suppress(psycopg.Error, OSError):
        duplicate = socket.fromfd(connection.fileno(), socket.AF_UNSPEC, socket.SOCK_STREAM)
        try:
            duplicate.shutdown(socket.SHUT_RDWR)
        finally:
            duplicate.close()
