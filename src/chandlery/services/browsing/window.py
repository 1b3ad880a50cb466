"""A window of candles: so many up to a time or from a time on, with what is missing in it and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs
from chandlery.storage.coverage import read_coverage, read_held
from chandlery.storage.postgres import PostgreSQLStorage

_FURTHER = 4
"""How much further is looked each time when holes leave a window with fewer candles than wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Candles of one series, oldest first.

    Among them ``gaps`` are not covered; of ``retired`` the candles were dropped after their term; ``empty`` was asked
    for, and the exchange had none. ``known`` is from the beginning of the series to the end of what is covered.
    """

    candles: CandleBatch
    known: Span | None
    gaps: Spans
    retired: Spans
    empty: Spans

    @classmethod
    def nothing(cls, series: Series, known: Span | None = None) -> Self:
        """No candles, and nothing to say about why."""
        none = Spans()
        return cls(candles=CandleBatch.empty(series), known=known, gaps=none, retired=none, empty=none)


def window(
    storage: PostgreSQLStorage, series: Series, count: int, *, start: UtcMs | None = None, end: UtcMs | None = None
) -> Window:
    """The first ``count`` candles from ``start`` on, or without it the last ones that open before ``end``.

    Neither means the newest. Holes are passed over, so fewer come only where the series begins or ends.
    """
    covered, held = _coverage(storage, series)
    known = covered.hull
    if known is None:
        return Window.nothing(series)
    known = Span(min(known.start, storage.ledger.beginning(series) or known.start), known.end)
    asked = known.intersection(Span(start or 0, max(known.end if end is None else end, (start or 0) + 1)))
    if asked is None:
        return Window.nothing(series, known)
    look = _last if start is None else _first
    candles, looked = look(lambda span: storage.reader.candles(series, span), series, count, asked)
    holes = Spans([looked]) - candles.runs()
    return Window(
        candles=candles, known=known, gaps=holes - covered, retired=(holes & covered) - held, empty=holes & held
    )


def _coverage(storage: PostgreSQLStorage, series: Series) -> tuple[Spans, Spans]:
    """What was asked for, and the part of it that is still here."""
    number = storage.catalog.find(series.exchange, series.symbol)
    if number is None:
        return Spans(), Spans()
    return storage.database.transact(
        lambda connection: (read_coverage(connection, number, series), read_held(connection, number, series))
    )


Read = Callable[[Span], CandleBatch]


def _last(read: Read, series: Series, count: int, asked: Span) -> tuple[CandleBatch, Span]:
    """The last candles of a span, and the part of it that they stand for."""
    bars = count
    while True:
        looked = Span(max(asked.start, series.timeframe.shift(asked.end - 1, 1 - bars)), asked.end)
        candles = read(looked)
        if len(candles) >= count or looked.start == asked.start:
            break
        bars *= _FURTHER
    kept = candles.take(slice(-count, None))
    return kept, looked if len(kept) == len(candles) else Span(int(kept.open_time[0]), looked.end)


def _first(read: Read, series: Series, count: int, asked: Span) -> tuple[CandleBatch, Span]:
    """The same of the first candles."""
    bars = count
    while True:
        looked = Span(asked.start, min(asked.end, series.timeframe.shift(asked.start, bars)))
        candles = read(looked)
        if len(candles) >= count or looked.end == asked.end:
            break
        bars *= _FURTHER
    kept = candles.take(slice(0, count))
    closes = series.timeframe.close_of(int(kept.open_time[-1])) if len(kept) else looked.end
    return kept, looked if len(kept) == len(candles) else Span(looked.start, closes)
