"""What retention has dropped, as readers hear of it: an answer that lacks candles must not look whole."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.storage.candle_table import CandleTable, open_times
from chandlery.storage.pgtime import to_datetime, to_spans
from chandlery.storage.sql import query

if TYPE_CHECKING:
    from chandlery.storage.database import Database

Numbered = tuple[int | None, Series]


def tell_of_retired(database: Database, numbered: Sequence[Numbered], table: CandleTable, span: Span) -> None:
    """Warn in the log where a part of ``span`` was dropped; who asks from the beginning of all gets what there is.

    The database is asked only for series of which bars are missing in ``table``. Raises DatabaseError.
    """
    if span.start <= 0 or "open_time" not in table.rows.column_names:
        return
    lacking = [(number, series) for place, (number, series) in enumerate(numbered) if _lacks_bars(table, place, span)]
    for series, dropped in _retired(database, lacking, span):
        hull = dropped.hull
        assert hull is not None
        logging.getLogger("chandlery").warning(
            "Candles of %s from %s to %s are not here: retention dropped them.",
            series,
            f"{to_datetime(hull.start):%Y-%m-%d}",
            f"{to_datetime(hull.end):%Y-%m-%d}",
        )


def _lacks_bars(table: CandleTable, place: int, span: Span) -> bool:
    """Whether bars are missing from the start of the span to the last candle."""
    start, end = int(table.edges[place]), int(table.edges[place + 1])
    if start == end:
        return True
    last = int(open_times(table.rows.slice(end - 1, 1))[0])
    timeframe = table.series[place].timeframe
    first = timeframe.ceil(span.start)
    return first <= last and timeframe.count(Span(first, timeframe.close_of(last))) > end - start


def _retired(database: Database, numbered: Sequence[Numbered], span: Span) -> list[tuple[Series, Spans]]:
    known = [(number, series) for number, series in numbered if number is not None]
    if not known:
        return []
    parameters = {
        "instruments": [number for number, _ in known],
        "timeframes": [series.timeframe.name for _, series in known],
        "start": to_datetime(span.start),
        "end": to_datetime(span.end),
    }

    def look(connection: psycopg.Connection) -> list[Any]:
        return connection.execute(query("read_retired"), parameters).fetchall()

    return [(known[number - 1][1], to_spans(spans)) for number, spans in database.transact(look)]
