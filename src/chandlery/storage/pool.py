"""A pool of connections in which whoever needs one makes it, in his own thread, and hears at once why he cannot.

One broken connection says that the others are doubtful too, because what breaks one, such as a restart, breaks them
all: so the idle ones are given up with it, and the next caller does not have to find out one by one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg.pq import TransactionStatus

from chandlery.errors import ConnectionError


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """``kept`` connections stay open when idle, ``most`` are open at once; ``oldest_s`` is the longest life of one.

    ``wait_s`` is how long to wait for another caller to give one back.
    """

    kept: int
    most: int
    wait_s: float
    oldest_s: float


class Pool:
    """Lends connections; safe to share between threads."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        options: PoolOptions,
        *,
        alive: Callable[[psycopg.Connection], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``alive`` is asked of an idle connection before it is lent; what it raises, the borrower hears."""
        self._connect = connect
        self._options = options
        self._alive = alive
        self._clock = clock
        self._slots = threading.BoundedSemaphore(options.most)
        self._lock = threading.Lock()
        self._idle: list[psycopg.Connection] = []
        self._made_at: dict[psycopg.Connection, float] = {}
        self._counters: Counter[str] = Counter()
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """Lend a connection for the block. Raises DatabaseError, also where all are lent for too long."""
        self._count("requests_num")
        self._take_slot()
        try:
            connection = self._idle_connection() or self._new_connection()
            try:
                yield connection
            finally:
                self._take_back(connection)
        finally:
            self._slots.release()

    def drop_idle(self) -> None:
        """Give up all connections that are not lent."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            self._discard(connection)

    def stats(self) -> dict[str, int]:
        """How many connections there are and have been: the names are those of psycopg_pool, for its users' sake."""
        with self._lock:
            now = {
                "pool_min": 0,
                "pool_max": self._options.most,
                "pool_size": len(self._made_at),
                "pool_available": len(self._idle),
                "requests_waiting": self._counters["requests_waiting"],
            }
            names = ("requests_num", "requests_errors", "connections_num", "connections_errors", "connections_lost")
            return now | {name: self._counters[name] for name in names}

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back; nothing is lent any more."""
        self._closed = True
        self.drop_idle()

    def _take_slot(self) -> None:
        if self._closed:
            raise ConnectionError("the connections to PostgreSQL were closed.", hint="Open the database anew.")
        self._count("requests_waiting")
        try:
            if self._slots.acquire(timeout=self._options.wait_s):
                return
        finally:
            self._count("requests_waiting", -1)
        self._count("requests_errors")
        raise ConnectionError(
            f"no free connection to PostgreSQL within {self._options.wait_s:g} s.",
            hint="Raise database.pool_size or database.max_overflow.",
            transient=True,
        )

    def _idle_connection(self) -> psycopg.Connection | None:
        """The one used last, if it is still good."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return None
            if self._clock() - self._made_at[connection] >= self._options.oldest_s:
                self._discard(connection)
            elif self._found_alive(connection):
                return connection

    def _found_alive(self, connection: psycopg.Connection) -> bool:
        alive = False
        try:
            alive = self._alive(connection)
        finally:
            if not alive:
                self._lost(connection)
        return alive

    def _new_connection(self) -> psycopg.Connection:
        try:
            connection = self._connect()
        except BaseException:
            self._count("connections_errors")
            raise
        with self._lock:
            self._counters["connections_num"] += 1
            self._made_at[connection] = self._clock()
        return connection

    def _take_back(self, connection: psycopg.Connection) -> None:
        if connection.broken:
            self._lost(connection)
            return
        with self._lock:
            clean = connection.info.transaction_status is TransactionStatus.IDLE
            keep = clean and not self._closed and len(self._idle) < self._options.kept
            if keep:
                self._idle.append(connection)
        if not keep:
            self._discard(connection)

    def _lost(self, connection: psycopg.Connection) -> None:
        self._count("connections_lost")
        self._discard(connection)
        self.drop_idle()

    def _discard(self, connection: psycopg.Connection) -> None:
        with self._lock:
            self._made_at.pop(connection, None)
        with contextlib.suppress(psycopg.Error):
            connection.close()

    def _count(self, name: str, by: int = 1) -> None:
        with self._lock:
            self._counters[name] += by
