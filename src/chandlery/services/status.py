"""What is stored, a line a series: first, last, count, coverage, gaps and lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from chandlery.domain.instrument import canonical_symbol
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_ms
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStatus:
    """One series. Times are UTC milliseconds, None where there is no candle.

    ``coverage`` is the covered share, 0 to 1, of the time from the beginning (proved, or else the first span) to the
    end of the last span; ``derived`` is the share, 0 to 1, of the covered time whose candles were made of finer ones;
    ``gaps`` are the uncovered spans, ``retired`` those whose candles retention has dropped; ``lag_s`` is how long ago
    the last covered bar closed. Of ``candles``, ``rows`` stand in the table; ``sealed`` spans take ``sealed_bytes``;
    ``without_rows`` of them have no rows, and ``archived`` of these are in files outside of the database alone.
    """

    exchange: str
    symbol: str
    timeframe: str
    first: UtcMs | None
    last: UtcMs | None
    candles: int
    rows: int
    sealed: int
    without_rows: int
    archived: int
    sealed_bytes: int
    coverage: float
    derived: float
    gaps: tuple[Span, ...]
    retired: tuple[Span, ...]
    lag_s: float | None
    last_error: str | None


def series_status(storage: PostgreSQLStorage, *, now: UtcMs, symbols: Sequence[str] = ()) -> list[SeriesStatus]:
    """The status of every series, or of those of ``symbols``, by exchange, symbol and timeframe."""
    wanted = {canonical_symbol(symbol) for symbol in symbols}
    entries = [entry for entry in storage.ledger.entries() if not wanted or entry.series.symbol in wanted]

    def count(connection: psycopg.Connection) -> list[SeriesStatus]:
        return [_status(connection, entry, now) for entry in entries]

    return storage.database.transact(count)


def _status(connection: psycopg.Connection, entry: LedgerEntry, now: UtcMs) -> SeriesStatus:
    series = entry.series
    statement = query("series_rows", table=table_of(series.timeframe))
    parameters = {"instrument_id": entry.instrument_id, "timeframe": series.timeframe.name}
    row: Any = connection.execute(statement, parameters).fetchone()
    first, last, candles, rows, sealed, without_rows, archived, sealed_bytes = row
    hull = entry.spans.hull
    known = None if hull is None else Span(min(hull.start, entry.begins_at or hull.start), hull.end)
    return SeriesStatus(
        exchange=series.exchange,
        symbol=series.symbol,
        timeframe=series.timeframe.name,
        first=None if first is None else to_ms(first),
        last=None if last is None else to_ms(last),
        candles=candles,
        rows=rows,
        sealed=sealed,
        without_rows=without_rows,
        archived=archived,
        sealed_bytes=sealed_bytes,
        coverage=entry.spans.length / known.length if known else 0.0,
        derived=entry.derived.length / entry.spans.length if entry.spans else 0.0,
        gaps=tuple(Spans([known]) - entry.spans) if known else (),
        retired=tuple(entry.retired),
        lag_s=(now - hull.end) / 1000 if hull else None,
        last_error=str(entry.last_error["message"]) if entry.last_error else None,
    )
