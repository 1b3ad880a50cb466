"""Reading candles: all that is stored of a series in a span, in order, as Arrow; never filled, rounded or cut."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from chandlery.domain.candle import COLUMNS, CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.errors import DamagedDataError
from chandlery.storage.arrow_link import ArrowLink, Statements
from chandlery.storage.assembly import Assembly, Damaged, TimeUnit
from chandlery.storage.blocks import Blocks
from chandlery.storage.candle_table import CandleTable
from chandlery.storage.catalog import Catalog
from chandlery.storage.database import Database
from chandlery.storage.pgtime import to_ms
from chandlery.storage.retired import tell_of_retired
from chandlery.storage.sealed import damaged
from chandlery.storage.sql import query
from chandlery.storage.tiers import Place, SegmentPart, find_parts

if TYPE_CHECKING:
    import pyarrow as pa

OnDamage = Callable[[Series, DamagedDataError], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDone:
    """A read that is over: how long it took, and how many sealed segments and how many runs of rows it joined."""

    seconds: float
    segments: int
    row_parts: int


class Reader:
    """Reads what is stored, be it rows or sealed.

    ``on_damage`` is told of segments that are damaged and whose rows are read instead; so is the log. ``on_read`` is
    told of every read of candles.
    """

    def __init__(self, database: Database, catalog: Catalog, on_damage: OnDamage | None = None) -> None:
        self._database = database
        self._catalog = catalog
        self.on_read: Callable[[ReadDone], None] | None = None
        self._on_damage = on_damage
        self._link = ArrowLink(database)
        self._blocks = Blocks()

    def candles(self, series: Series, span: Span) -> CandleBatch:
        """The stored candles that open in ``span``. Raises as ``read`` does."""
        return self.read([series], span).batch(0)

    def read(
        self, wanted: Sequence[Series], span: Span, columns: Sequence[str] = COLUMNS, unit: TimeUnit = "ms"
    ) -> CandleTable:
        """The stored candles of all series ``wanted`` (at least one) that open in ``span``; ``columns`` of COLUMNS.

        Times that are not read as rows are made in ``unit``: a frame wants nanoseconds. The table says which they are.
        Raises DamagedDataError where a segment is damaged and has no rows, StorageError where an archived file cannot
        be had. Where retention has dropped candles, the log says so.
        """
        numbered = [(self._catalog.find(series.exchange, series.symbol), series) for series in wanted]
        passed_over: set[Place] = set()
        began = time.perf_counter()

        def gather(statements: Statements) -> Assembly:
            # every try has memory of its own: one that was left alone may still be at work
            parts = find_parts(statements, numbered, span, columns, passed_over)
            assembly = Assembly(wanted, parts, span, columns, unit)
            assembly.fill(self._blocks, statements)
            return assembly

        while True:
            assembly = self._link.in_snapshot(gather)
            try:
                table = assembly.finish()
            except Damaged as found:
                passed_over |= {self._place_with_rows(*one) for one in found.parts}
            else:
                self._tell(began, assembly)
                tell_of_retired(self._database, numbered, table, span)
                return table

    def _place_with_rows(self, part: SegmentPart, found: DamagedDataError) -> Place:
        """Where rows can be read instead; tells of the damage. Raises DamagedDataError if there are none."""
        error = damaged(part.series, part.unit, str(found))
        if not part.rows_kept:
            raise error from found
        logging.getLogger("chandlery").warning("%s The rows are read instead.", error)
        if self._on_damage is not None:
            self._on_damage(part.series, error)
        return part.series, part.unit

    def _tell(self, began: float, assembly: Assembly) -> None:
        if self.on_read is not None:
            seconds = time.perf_counter() - began
            self.on_read(ReadDone(seconds=seconds, segments=assembly.segments, row_parts=assembly.row_parts))

    def closed_by(self, series: Series, span: Span | None) -> CandleBatch:
        """The stored candles that were the last closed one at some time in ``span``: also the one before it."""
        if span is None:
            return CandleBatch.empty(series)
        before = series.timeframe.shift(span.start, -1)
        candles = self.candles(series, Span(before, span.end))
        if len(candles) and candles.open_time[0] == before:
            return candles
        # that one is missing, so the last closed one may be any number of bars ago
        earlier = self.candles(series, Span(min(0, before - 1), before))
        return CandleBatch.joined(series, [earlier.take(slice(-1, None)), candles])

    def latest_open_time(self, series: Series) -> UtcMs | None:
        """The open time of the newest candle, or None if there is none."""
        parameters = {"timeframe": series.timeframe.name, "symbol": series.symbol, "exchange": series.exchange}

        def look(connection: psycopg.Connection) -> Any:
            return connection.execute(query("latest_open_time"), parameters).fetchone()

        row = self._database.transact(look)
        return to_ms(row[0]) if row else None

    def latest(self, timeframe: Timeframe, symbols: Sequence[str] | None, exchange: str | None) -> pa.Table:
        """The newest candle of every series, or of those of ``symbols`` or ``exchange``: rows of the view ohlcv."""
        statement = query(
            "latest_candles",
            timeframe=sql.Literal(timeframe.name),
            symbols=sql.Literal(None if symbols is None else list(symbols)),
            exchange=sql.Literal(exchange),
        )
        return self._link.fetch(statement.as_string())

    def close(self) -> None:
        """Give connection and memory back; the next read makes new ones."""
        self._link.close()
        self._blocks.clear()
