"""Where every series stands, a row each: worked out by the server, since there may be ten thousand of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import TIMEFRAMES, UtcMs
from chandlery.storage.database import Database
from chandlery.storage.pgtime import to_ms
from chandlery.storage.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSeries:
    """These symbols of one exchange in these timeframes, as canonical names; without ``symbols`` every series."""

    exchange: str
    symbols: Sequence[str]
    timeframes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesState:
    """What the ledger knows of a series. ``end``, UTC milliseconds, is None while nothing is covered.

    ``covered_s`` is how much is covered, ``known_s`` how long it is from the beginning (proved, or else the first span)
    to ``end``; ``gaps`` are the uncovered spans in between.
    """

    series: Series
    end: UtcMs | None
    gaps: int
    covered_s: float
    known_s: float


def series_states(database: Database, chosen: ChosenSeries) -> list[SeriesState]:
    """The state of each chosen series that is in the ledger. May raise a DatabaseError."""
    parameters = {
        "exchange": chosen.exchange,
        "symbols": list(chosen.symbols) or None,
        "timeframes": list(chosen.timeframes),
    }

    def look(connection: psycopg.Connection) -> list[SeriesState]:
        return [
            SeriesState(
                series=Series(exchange, symbol, TIMEFRAMES[timeframe]),
                end=None if end is None else to_ms(end),
                gaps=gaps,
                covered_s=covered_s,
                known_s=known_s,
            )
            for exchange, symbol, timeframe, end, gaps, covered_s, known_s in connection.execute(
                query("series_states"), parameters
            )
        ]

    return database.transact(look)
