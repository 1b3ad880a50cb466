"""Candles made of finer ones of ours: what may be made, and what must be made again.

A coarse bar is derived only while nobody can write its finer series, and whoever changes a finer candle takes the bars
that were made of it out of the ledger in the same transaction. So a derived candle that the ledger counts as known is
always what its finer candles make.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import psycopg

from chandlery.domain.instrument import Series
from chandlery.domain.rollup import touched_bars, whole_bars
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES, Timeframe
from chandlery.storage.coverage import lock_key, read_coverage, read_held
from chandlery.storage.pgtime import to_multirange, to_spans
from chandlery.storage.sql import query

MadeOf = tuple[int, Series, Spans]
"""The number of an instrument, a series of it, and bars of that series."""


def lock_series(connection: psycopg.Connection, keys: Sequence[int]) -> None:
    """Lock series for writing, in the order in which everybody does."""
    connection.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key", [sorted(keys)])


def derivable(
    connection: psycopg.Connection, instrument_id: int, series: Series, finer: Timeframe, wanted: Span
) -> Spans:
    """The bars of ``series`` in ``wanted`` that are not known and whose finer candles all are.

    Until the transaction ends, nobody else writes either series.
    """
    source = replace(series, timeframe=finer)
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_key(1, instrument_id, source)])
    lock_series(connection, [lock_key(1, instrument_id, series)])
    known = read_held(connection, instrument_id, source) & Spans([wanted])
    return whole_bars(series.timeframe, known - read_coverage(connection, instrument_id, series))


def made_of(connection: psycopg.Connection, timeframe: Timeframe, changed: Sequence[tuple[int, Spans]]) -> list[MadeOf]:
    """The derived bars of coarser series that are made of ``changed``, spans of ``timeframe`` by instrument.

    Ask before the ledger is extended: nothing can be made of a bar that was not known until now.
    """
    coarser = [bar for bar in TIMEFRAMES.values() if bar != timeframe and bar.made_of(timeframe)]
    changed = [(number, spans) for number, spans in changed if spans]
    if not changed or not coarser:
        return []
    parameters = {
        "instruments": [number for number, _ in changed],
        "spans": [to_multirange(spans) for _, spans in changed],
        "timeframe": timeframe.name,
        "coarser": [bar.name for bar in coarser],
    }
    rows = connection.execute(query("made_of"), parameters).fetchall()
    return [
        (number, Series(exchange, symbol, TIMEFRAMES[name]), touched_bars(TIMEFRAMES[name], to_spans(spans)))
        for number, exchange, symbol, name, spans in rows
    ]


def uncover(connection: psycopg.Connection, stale: Sequence[MadeOf]) -> None:
    """Take derived bars out of what is known, so that they are made again; their series must be locked.

    What is stored of them stays marked as derived.
    """
    for number, series, bars in stale:
        parameters = {"instrument_id": number, "timeframe": series.timeframe.name, "bars": to_multirange(bars)}
        connection.execute(query("uncover_derived"), parameters)
