"""A few candles of many series, stored in as few statements as one series needs.

A market of 300 instruments closes its minute for all of them in the same second. One by one, each series costs five
round trips; together they cost five in all. Only what is plainly new is stored here: a series with a candle that is
stored already, with rejected rows or with more than a few candles is handed back for the thorough way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import psycopg

from chandlery.domain.candle import VALUE_COLUMNS
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import Timeframe
from chandlery.storage.copy_binary import stream_of_many
from chandlery.storage.coverage import extend_coverages, lock_key
from chandlery.storage.derivation import lock_series, made_of
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.sql import query

if TYPE_CHECKING:
    from chandlery.storage.delivery import Delivery

_A_FEW = 16
"""Candles of one series; a page of the exchange goes the thorough way, which compares column by column."""

Numbered = tuple[int, "Delivery"]
"""A delivery and the number of its instrument."""


def worthwhile(numbered: Sequence[Numbered]) -> bool:
    """Whether there is more than one series to store."""
    return len(numbered) > 1


def store_together(connection: psycopg.Connection, numbered: Sequence[Numbered]) -> tuple[int, list[Numbered]]:
    """Store what is plainly new, in the transaction that ``connection`` is in, and extend the ledger.

    The partitions must be there. Returns how many candles that were, and the deliveries that are left as they came.
    Raises what psycopg raises, a unique violation among it when somebody writes past our locks.
    """
    lock_series(connection, [lock_key(1, number, delivery.batch.series) for number, delivery in numbered])
    few, left = _split(numbered)
    inserted = 0
    for timeframe, group in groupby(sorted(few, key=_timeframe_name), key=lambda one: one[1].batch.series.timeframe):
        new, known = _unentangled(connection, timeframe, list(group))
        left += known
        inserted += _insert(connection, timeframe, new)
        extend_coverages(connection, [(number, one.batch.series, one.covered) for number, one in new])
    return inserted, left


def _timeframe_name(one: Numbered) -> str:
    return one[1].batch.series.timeframe.name


def _split(numbered: Sequence[Numbered]) -> tuple[list[Numbered], list[Numbered]]:
    """Deliveries of a few good candles, the first of each series; and all others."""
    few: list[Numbered] = []
    left: list[Numbered] = []
    seen = set()
    for number, one in numbered:
        plain = 0 < len(one.batch) <= _A_FEW and not one.rejected and not one.repeated and not one.rounded
        (few if plain and one.batch.series not in seen else left).append((number, one))
        seen.add(one.batch.series)
    return few, left


def _unentangled(
    connection: psycopg.Connection, timeframe: Timeframe, group: Sequence[Numbered]
) -> tuple[list[Numbered], list[Numbered]]:
    """The deliveries of one timeframe none of whose bars is stored, or a part of a derived bar; and the others."""
    spans = [(number, Spans([one.batch.span] if one.batch.span else [])) for number, one in group]
    others = _with_stored(connection, timeframe, group) | {
        number for number, *_ in made_of(connection, timeframe, spans)
    }
    return [one for one in group if one[0] not in others], [one for one in group if one[0] in others]


def _with_stored(connection: psycopg.Connection, timeframe: Timeframe, group: Sequence[Numbered]) -> set[int]:
    """The instruments of which one of these bars is stored."""
    times = np.concatenate([one.batch.open_time for _, one in group])
    parameters = {
        "instruments": _numbers(group).tolist(),
        "open_times": [to_datetime(time) for time in times.tolist()],
        "timeframe": timeframe.name,
        "start": to_datetime(int(times.min())),
        "end": to_datetime(int(times.max())),
    }
    rows = connection.execute(query("instruments_with_bars", table=table_of(timeframe)), parameters)
    return {number for (number,) in rows}


def _insert(connection: psycopg.Connection, timeframe: Timeframe, group: Sequence[Numbered]) -> int:
    if not group:
        return 0
    names = ("open_time", *VALUE_COLUMNS)
    columns = {name: np.concatenate([getattr(one.batch, name) for _, one in group]) for name in names}
    stream: Iterable[bytes] = stream_of_many(timeframe, columns, _numbers(group))
    with connection.cursor().copy(query("insert_candles", table=table_of(timeframe))) as copy:
        for block in stream:
            copy.write(block)
    return len(columns["open_time"])


def _numbers(group: Sequence[Numbered]) -> np.ndarray:
    """The instrument's number for each candle."""
    return np.repeat([number for number, _ in group], [len(one.batch) for _, one in group])
