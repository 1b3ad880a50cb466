"""What time it is for whoever judges whether a candle is closed."""

from __future__ import annotations

import time

import psycopg

from chandlery.domain.timeframe import UtcMs
from chandlery.storage.database import Database

_SERVER_TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"


def earlier_now(database: Database) -> UtcMs:
    """UTC milliseconds by this machine's clock or the server's, whichever is behind. Raises DatabaseError.

    By a clock that is ahead a running candle would count as closed; by one that is behind it only comes later.
    """

    def ask(connection: psycopg.Connection) -> UtcMs:
        [(server,)] = connection.execute(_SERVER_TIME)
        return int(server)

    return min(time.time_ns() // 1_000_000, database.transact(ask))
