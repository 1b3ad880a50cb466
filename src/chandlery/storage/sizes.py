"""How much room candles take, a figure a timeframe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from chandlery.domain.timeframe import Timeframe
from chandlery.storage.database import Database
from chandlery.storage.partitions import table_name
from chandlery.storage.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes of the rows of one timeframe, of their keys, and of its sealed segments, with how many those are."""

    table: int
    index: int
    segment: int
    segments: int


def sizes(database: Database, timeframes: Sequence[Timeframe]) -> dict[Timeframe, Sizes]:
    """The sizes of each of ``timeframes``. May raise a DatabaseError."""
    parameters = {
        "timeframes": [timeframe.name for timeframe in timeframes],
        "tables": [f"chandlery.{table_name(timeframe)}" for timeframe in timeframes],
    }

    def look(connection: psycopg.Connection) -> dict[str, Sizes]:
        rows = connection.execute(query("sizes"), parameters).fetchall()
        return {
            name: Sizes(table=table, index=index, segment=segment, segments=segments)
            for name, table, index, segment, segments in rows
        }

    found = database.transact(look)
    return {timeframe: found[timeframe.name] for timeframe in timeframes}
