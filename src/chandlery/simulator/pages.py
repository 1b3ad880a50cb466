"""What a fault does to a page of candles: to the question, and to the rows of the answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from chandlery.simulator.endpoints import CandleQuery
from chandlery.simulator.faults import Fault, FaultKind
from chandlery.simulator.wire import Row, decimal_text

_OVERLAP_BARS = 5
_HIGH, _LOW, _CLOSE, _VOLUMES, _CONFIRM = 2, 3, 4, slice(5, 8), 8


def spoilt_query(fault: Fault | None, query: CandleQuery) -> CandleQuery:
    """The question that the exchange believes it was asked."""
    if fault is None:
        return query
    if fault.kind is FaultKind.STUCK_PAGE:
        return replace(query, after=None, before=None)
    if fault.kind is FaultKind.OVERLAPPING_PAGE and query.after is not None:
        later = query.bar.open_at(query.bar.ordinal(query.after) + _OVERLAP_BARS)
        return replace(query, after=later)
    return query


def spoilt_rows(fault: Fault | None, rows: list[Row]) -> list[Row]:
    """The rows as the fault leaves them; ``rows`` is not changed. A page without rows has nothing to spoil."""
    spoil = _SPOILERS.get(fault.kind) if fault else None
    if fault is None or spoil is None or not rows:
        return rows
    return spoil([list(row) for row in rows], random.Random(fault.seed))  # noqa: S311


def _empty(_rows: list[Row], _rng: random.Random) -> list[Row]:
    return []


def _short(rows: list[Row], rng: random.Random) -> list[Row]:
    return rows[: rng.randrange(len(rows))]


def _hole(rows: list[Row], rng: random.Random) -> list[Row]:
    """One to three rows are missing between the newest and the oldest; a page of fewer than three rows stays whole."""
    if len(rows) < 3:
        return rows
    start = rng.randrange(1, len(rows) - 1)
    end = min(start + rng.randint(1, 3), len(rows) - 1)
    return rows[:start] + rows[end:]


def _unordered(rows: list[Row], rng: random.Random) -> list[Row]:
    """Any order but the right one; a page of one row has no other."""
    shuffled = rng.sample(rows, len(rows))
    return rows[1:] + rows[:1] if shuffled == rows else shuffled


def _duplicated(rows: list[Row], rng: random.Random) -> list[Row]:
    position = rng.randrange(len(rows))
    return [*rows[: position + 1], *rows[position:]]


def _nan(rows: list[Row], rng: random.Random) -> list[Row]:
    rng.choice(rows)[_CLOSE] = "NaN"
    return rows


def _crossed(rows: list[Row], rng: random.Random) -> list[Row]:
    row = rng.choice(rows)
    row[_HIGH] = decimal_text(float(row[_LOW]) / 2)
    return rows


def _revised(rows: list[Row], rng: random.Random) -> list[Row]:
    """One confirmed candle closes at its low, or at its high if it did, and has traded twice as much."""
    confirmed = [row for row in rows if row[_CONFIRM] == "1"]
    if confirmed:
        row = rng.choice(confirmed)
        row[_CLOSE] = row[_HIGH] if row[_CLOSE] == row[_LOW] else row[_LOW]
        row[_VOLUMES] = [decimal_text(2 * float(volume) or 1.0) for volume in row[_VOLUMES]]
    return rows


_SPOILERS: dict[FaultKind, Callable[[list[Row], random.Random], list[Row]]] = {
    FaultKind.EMPTY_PAGE: _empty,
    FaultKind.SHORT_PAGE: _short,
    FaultKind.HOLE: _hole,
    FaultKind.UNORDERED: _unordered,
    FaultKind.DUPLICATED_ROW: _duplicated,
    FaultKind.NAN_ROW: _nan,
    FaultKind.CROSSED_ROW: _crossed,
    FaultKind.REVISED_CANDLE: _revised,
}
