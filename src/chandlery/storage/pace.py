"""One pace for all programs behind one address: a row says until when slots are taken; who takes more moves it on.

A pace that the database cannot keep at the moment is no reason to wait: then each program keeps its own.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

import psycopg

from chandlery.errors import DatabaseError
from chandlery.storage.database import Database
from chandlery.storage.sql import query

_LONGEST_S = 2
"""Whoever wants to ask the exchange waits no longer for the database."""
_AGAIN_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceLine:
    """What has a pace of its own: an ``endpoint`` of an exchange's ``host``, as asked from an ``address``."""

    host: str
    address: str
    endpoint: str


class SharedPace:
    """The table ``pace``, on connections apart, so that it never waits for anything else that is done."""

    def __init__(self, database: Database) -> None:
        hasty = replace(
            database.options,
            pool_size=1,
            max_overflow=3,
            pool_timeout_s=_LONGEST_S,
            connect_timeout_s=_LONGEST_S,
            statement_timeout_s=_LONGEST_S,
            lock_timeout_s=_LONGEST_S,
            client_deadline_s=_LONGEST_S,
            patience_s=0.0,
        )
        self._database = Database(database.conninfo, hasty)
        self._again_at = float("-inf")

    def take(self, line: PaceLine, interval_s: float, count: int) -> float | None:
        """Take the next ``count`` slots, ``interval_s`` apart: in how many seconds the first of them is.

        None if the database does not answer, and for a while after that.
        """
        if time.monotonic() < self._again_at:
            return None
        length = timedelta(seconds=interval_s * count)
        try:
            return self._database.transact(lambda connection: _taken(connection, line, length))
        except DatabaseError:
            self._again_at = time.monotonic() + _AGAIN_AFTER_S
            return None

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()


def _taken(connection: psycopg.Connection, line: PaceLine, length: timedelta) -> float:
    connection.execute("SET LOCAL synchronous_commit = off")  # after a crash nobody needs to know
    row = connection.execute(query("take_slots"), {**asdict(line), "length": length}).fetchone()
    assert row is not None
    return max(0.0, float(row[0]))
