"""Partitions by time, made when the first candle needs them, so that no insert ever fails for lack of one.

A partition is made and attached in a short transaction of its own before the write: attaching takes no lock that
stops readers or writers of the parent, and no two makers can ever wait for each other in a circle. If the write is
then undone, an empty partition stays behind, which holds nothing and hurts nobody.

A function of the schema's owner makes it, because only the owner of a table may attach a partition to it.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from chandlery.domain.span import Span
from chandlery.domain.timeframe import HOUR_MS, MINUTE_MS, Timeframe
from chandlery.storage.database import Database
from chandlery.storage.pgtime import to_datetime, to_ms
from chandlery.storage.sql import query


def table_name(timeframe: Timeframe) -> str:
    """The name of a timeframe's table without its schema; PostgreSQL folds case, so ``1M`` becomes ``1mo``."""
    return f"candle_{'1mo' if timeframe.name == '1M' else timeframe.name}"


def table_of(timeframe: Timeframe) -> sql.Identifier:
    """The table of a timeframe, as an identifier to compose."""
    return sql.Identifier("chandlery", table_name(timeframe))


def months_in_a_partition(timeframe: Timeframe) -> int:
    """One for 1m, a year's up to 30m, ten years' above: under 200 partitions for ten years of everything."""
    if timeframe.step_ms == MINUTE_MS:
        return 1
    return 12 if timeframe.step_ms is not None and timeframe.step_ms < HOUR_MS else 120


class Partitions:
    """Knows which partitions exist and makes the missing ones."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def ensure(self, timeframe: Timeframe, span: Span) -> None:
        """Make every partition that candles opening in ``span`` need."""
        wanted = dict(partitions_of(timeframe, span))
        with self._lock:
            missing = {name: bounds for name, bounds in wanted.items() if name not in self._known}
        if missing:
            self._database.transact(lambda connection: _make(connection, timeframe, missing))
            with self._lock:
                self._known.update(missing)

    def forget(self) -> None:
        """Look again next time: somebody dropped a partition."""
        with self._lock:
            self._known.clear()


def partitions_of(timeframe: Timeframe, span: Span) -> list[tuple[str, Span]]:
    """Name and bounds of every partition that ``span`` touches."""
    months = months_in_a_partition(timeframe)
    return [(_name(timeframe, months, bounds), bounds) for bounds in calendar_periods(months, span)]


def calendar_periods(months: int, span: Span) -> list[Span]:
    """The periods of so many months that ``span`` touches; the years 0, 10, 20... begin one of ten years."""
    first, last = to_datetime(span.start), to_datetime(span.end - 1)
    start = (first.year * 12 + first.month - 1) // months * months
    numbers = range(start, last.year * 12 + last.month, months)
    return [Span(_month_start(number), _month_start(number + months)) for number in numbers]


def _name(timeframe: Timeframe, months: int, bounds: Span) -> str:
    start = to_datetime(bounds.start)
    label = f"{start.year:04d}_{start.month:02d}" if months == 1 else f"{start.year:04d}"
    return f"{table_name(timeframe)}_{label}"


def _month_start(month: int) -> int:
    year, index = divmod(month, 12)
    return to_ms(datetime(year, index + 1, 1, tzinfo=UTC))


def _make(connection: psycopg.Connection, timeframe: Timeframe, missing: dict[str, Span]) -> None:
    for bounds in missing.values():
        opens = {"timeframe": timeframe.name, "open_time": to_datetime(bounds.start)}
        connection.execute(query("make_partition"), opens)


def partition_values(timeframe: Timeframe, name: str, bounds: Span) -> dict[str, Any]:
    """The values that queries about one partition take."""
    return {
        "partition": f"chandlery.{name}",
        "timeframe": timeframe.name,
        "start": to_datetime(bounds.start),
        "end": to_datetime(bounds.end),
    }
