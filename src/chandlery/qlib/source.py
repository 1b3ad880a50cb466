"""Where Qlib's stores get candles from: one plan for all, blocks of columns kept in memory, a connection a process."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import Timeframe
from chandlery.services.export_qlib.fields import FIELDS, Columns, FloatColumn, dense
from chandlery.services.export_qlib.layout import Calendar
from chandlery.services.export_qlib.selection import Plan, Selection, plan
from chandlery.services.export_qlib.writing import pieces
from chandlery.storage.postgres import PostgreSQLStorage

CACHE_BYTES = 512 << 20

# what a forked process inherits belongs to its parent: to let go of it would close the parent's connection
_INHERITED: list[PostgreSQLStorage | None] = []


@dataclass(frozen=True, slots=True)
class Block:
    """All fields of one series: dense columns, of which the first value stands in row ``start`` of the calendar."""

    start: int
    columns: dict[str, FloatColumn]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return sum(column.nbytes for column in self.columns.values())


class QlibSource:
    """Reads one database for Qlib. Calendars and instruments stand as they were when it was opened.

    Qlib copies its configuration for every value and sends it to other processes: a copy is the same object, and what
    is sent is the plan without connection and cache. A forked process opens a connection of its own.
    """

    _storage: PostgreSQLStorage | None

    def __init__(self, dsn: str, chosen: Plan) -> None:
        self._dsn = dsn
        self._series = {(series.symbol, series.timeframe): (series, span) for series, span in chosen.spans.items()}
        self.instruments: dict[str, Span] = chosen.instruments
        self.calendars: dict[Timeframe, Calendar] = chosen.calendars
        self._begin()

    @classmethod
    def opened(
        cls,
        dsn: str,
        exchange: str | None = None,
        symbols: Sequence[str] = (),
        timeframes: Sequence[str] = (),
        since: object = None,
        until: object = None,
    ) -> Self:
        """With the plan of what is stored now. Raises DataNotFoundError, DataValidationError, DatabaseError."""
        selection = Selection.parsed(symbols, timeframes, since, until, exchange)
        with PostgreSQLStorage(dsn) as storage:
            return cls(dsn, plan(storage, selection))

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_storage", "_blocks")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __repr__(self) -> str:
        return f"QlibSource({len(self._series)} series)"

    def block(self, symbol: str, timeframe: Timeframe) -> Block | None:
        """All columns of a series, read once while there is room for it; None for one that is not stored."""
        found = self._series.get((symbol, timeframe))
        if found is None:
            return None
        if os.getpid() != self._process:
            _INHERITED.append(self._storage)
            self._connect_anew()
        with self._lock:
            block = self._blocks.pop((symbol, timeframe), None) or self._read(*found)
            self._blocks[symbol, timeframe] = block
            while len(self._blocks) > 1 and sum(kept.size for kept in self._blocks.values()) > CACHE_BYTES:
                self._blocks.popitem(last=False)
            return block

    def _read(self, series: Series, span: Span) -> Block:
        if self._storage is None:
            self._storage = PostgreSQLStorage(self._dsn)
        calendar, columns = self.calendars[series.timeframe], Columns()
        start = calendar.row(span.start)
        length = calendar.row(span.end) - start
        filled = {name: np.full(length, np.nan, dtype=np.float32) for name in FIELDS}
        for batch, piece in pieces(self._storage.reader, series, span):
            first, end = calendar.row(piece.start) - start, calendar.row(piece.end) - start
            rows = calendar.rows(batch.open_time) - start - first
            for name, exact in columns.of(batch).items():
                filled[name][first:end] = dense(exact, rows, end - first)
        return Block(start, filled)

    def _begin(self) -> None:
        self._blocks: OrderedDict[tuple[str, Timeframe], Block] = OrderedDict()
        self._connect_anew()

    def _connect_anew(self) -> None:
        """Blocks are as good in a forked process as in its parent; a connection and a lock are not."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._storage = None
