"""What each collection did: a row when it starts, completed when it ends; a killed one never gets its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from chandlery.domain.timeframe import UtcMs
from chandlery.storage.database import Database
from chandlery.storage.pgtime import to_ms
from chandlery.storage.sql import query
from chandlery.storage.writer import SaveResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One collection. Times are UTC milliseconds; ``outcome`` is None while it runs, or if it was killed."""

    started_at: UtcMs
    finished_at: UtcMs | None
    command: str
    pages: int
    result: SaveResult
    outcome: str | None


class RunLog:
    """The table ``run``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, command: str) -> int:
        """Note that a collection starts; its number."""

        def insert(connection: psycopg.Connection) -> int:
            row = connection.execute(query("start_run"), {"command": command}).fetchone()
            assert row is not None
            return int(row[0])

        return self._database.transact(insert)

    def finish(self, number: int, outcome: str, pages: int, result: SaveResult) -> None:
        """Note how a collection ended."""
        parameters = {
            "id": number,
            "outcome": outcome,
            "pages": pages,
            "inserted": result.inserted,
            "unchanged": result.unchanged,
            "revised": result.revised,
            "rejected": result.rejected,
        }
        self._database.transact(lambda connection: connection.execute(query("finish_run"), parameters))

    def newest(self) -> RunEntry | None:
        """The latest collection, if there was any."""
        return next(iter(self.newest_of(1)), None)

    def newest_of(self, count: int) -> list[RunEntry]:
        """The latest collections, the newest first."""

        def look(connection: psycopg.Connection) -> list[Any]:
            return connection.execute(query("newest_runs"), {"count": count}).fetchall()

        return [_entry(*row) for row in self._database.transact(look)]


def _entry(
    started_at: datetime,
    finished_at: datetime | None,
    command: str,
    pages: int,
    inserted: int,
    unchanged: int,
    revised: int,
    rejected: int,
    outcome: str | None,
) -> RunEntry:
    return RunEntry(
        started_at=to_ms(started_at),
        finished_at=None if finished_at is None else to_ms(finished_at),
        command=command,
        pages=pages,
        result=SaveResult(inserted=inserted, unchanged=unchanged, revised=revised, rejected=rejected),
        outcome=outcome,
    )
