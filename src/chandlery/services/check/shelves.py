"""Where the candles stand that are to be checked: a database, a folder of CSV files, or one table in memory.

A checked store is read as it is: rows come back that no reader for candles would let through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chandlery.domain.candle import VALUE_COLUMNS, CandleBatch, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.quality import PIECE, Finding, Rule, finding
from chandlery.domain.quality.finding import counted
from chandlery.domain.quality.rows import in_order
from chandlery.domain.rules import judge
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import StorageError
from chandlery.storage.candle_table import open_times
from chandlery.storage.csv_lenient import read_file
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_datetime, to_ms
from chandlery.storage.sql import query

if TYPE_CHECKING:
    from psycopg import sql

    from chandlery.storage.coverage import LedgerEntry
    from chandlery.storage.csv_files import CsvStore
    from chandlery.storage.postgres import PostgreSQLStorage


_FILES_HELD = 2

_REMEMBERED = {
    Rule.REVISION: "{rows} of the exchange said something else than before",
    Rule.REJECTED: "{rows} broke a rule when they came",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a series beside its rows.

    ``covered`` is the ledger, None where there is none; ``derived`` is the part of it that was rolled up here, and
    ``retired`` the part that retention has dropped; ``begins_at`` is the proved start of history, None if nobody probed
    it.
    """

    covered: Spans | None = None
    derived: Spans = field(default_factory=Spans)
    retired: Spans = field(default_factory=Spans)
    begins_at: UtcMs | None = None


class Shelf(Protocol):
    """A store to check. All methods block, and may raise a DatabaseError or StorageError."""

    def series(self) -> list[Series]:
        """Every series that stands here."""
        ...

    def known(self, series: Series) -> Known:
        """What is known of a series beside its rows."""
        ...

    def rows(self, series: Series, since: UtcMs | None, until: UtcMs | None) -> Iterator[CandleRows]:
        """All rows that open in ``[since, until)``, ascending, in pieces."""
        ...

    def remarks(self, series: Series, span: Span) -> list[Finding]:
        """What the store itself remembers: rejected rows, revisions, lines that cannot be read."""
        ...

    def broken(self, series: Series) -> StorageError | None:
        """Why nothing can be written to this series, if so."""
        ...


class PostgresShelf:
    """The candles of a database, read a piece at a time."""

    def __init__(self, storage: PostgreSQLStorage) -> None:
        self._storage = storage
        self._entries: dict[Series, LedgerEntry] = {}
        self._extents: dict[Series, Span | None] = {}

    def series(self) -> list[Series]:
        """All of the ledger, to be read anew."""
        self._extents.clear()
        self._entries = {entry.series: entry for entry in self._storage.ledger.entries()}
        return list(self._entries)

    def known(self, series: Series) -> Known:
        """As the ledger said when the series were listed: what is stored since then stands in the rows as well."""
        entry = self._entries[series]
        return Known(covered=entry.spans, derived=entry.derived, retired=entry.retired, begins_at=entry.begins_at)

    def rows(self, series: Series, since: UtcMs | None, until: UtcMs | None) -> Iterator[CandleRows]:
        """Whatever stands in the table, a piece of time after the other."""
        if series not in self._extents:
            self._extents[series] = self._extent(series)
        extent = self._extents[series]
        if extent is None:
            return
        start = extent.start if since is None else max(since, extent.start)
        end = extent.end if until is None else min(until, extent.end)
        while start < end:
            stop = min(series.timeframe.shift(start, PIECE), end)
            table = self._storage.reader.read([series], Span(start, stop)).rows
            columns = {name: table[name].to_numpy() for name in VALUE_COLUMNS}
            yield CandleRows.of(series, {"open_time": open_times(table), **columns})
            start = stop

    def remarks(self, series: Series, span: Span) -> list[Finding]:
        """The tables ``revision`` and ``rejected``."""
        revised = self._counted("revisions_in", Rule.REVISION, series, span)
        rejected = self._counted("rejected_in", Rule.REJECTED, series, span)
        return [*revised, *rejected]

    def _counted(self, name: str, rule: Rule, series: Series, span: Span) -> Iterator[Finding]:
        """A finding if the query called ``name`` counts any row in ``span``."""
        parameters = {
            **self._names(series),
            "exchange": series.exchange,
            "symbol": series.symbol,
            "start": to_datetime(span.start),
            "end": to_datetime(span.end),
        }
        row = self._look(query(name), parameters)
        if row[0]:
            timeframe, count = series.timeframe, int(row[0])
            where = Span(timeframe.floor(to_ms(row[1])), timeframe.close_of(to_ms(row[2])))
            yield finding(rule, series, where, count, _REMEMBERED[rule].format(rows=counted(count, "row")))

    def broken(self, series: Series) -> None:
        """A table takes candles whatever stands in it."""

    def _extent(self, series: Series) -> Span | None:
        """All the time for which there may be rows: the ledger's, and what rows there are besides."""
        row = self._look(query("series_extent", table=table_of(series.timeframe)), self._names(series))
        stored = []
        if row[0] is not None:
            first, last = series.timeframe.floor(to_ms(row[0])), series.timeframe.close_of(to_ms(row[1]))
            stored.append(Span(first, last))
        return (self._entries[series].held | Spans(stored)).hull

    def _names(self, series: Series) -> dict[str, Any]:
        return {"instrument_id": self._entries[series].instrument_id, "timeframe": series.timeframe.name}

    def _look(self, statement: sql.Composed, parameters: dict[str, Any]) -> Any:
        return self._storage.database.transact(lambda connection: connection.execute(statement, parameters).fetchone())


class CsvShelf:
    """The files of a folder; the two that were read last are in memory, for timeframes are compared by pieces."""

    def __init__(self, store: CsvStore) -> None:
        self._store = store
        self._held: dict[Series, tuple[CandleRows, list[Finding]]] = {}

    def series(self) -> list[Series]:
        """Every file of ours, to be read anew."""
        self._held.clear()
        return self._store.series()

    def known(self, series: Series) -> Known:
        """Files are their own ledger; only the start of history is noted beside them."""
        return Known(begins_at=self._store.beginning(series))

    def rows(self, series: Series, since: UtcMs | None, until: UtcMs | None) -> Iterator[CandleRows]:
        """The whole lines of a file, also of one that the store itself would refuse."""
        rows, _ = self._read(series)
        yield from _pieces(rows, since, until)

    def remarks(self, series: Series, span: Span) -> list[Finding]:  # noqa: ARG002
        """What is wrong with the lines as a whole."""
        return self._read(series)[1]

    def broken(self, series: Series) -> StorageError | None:
        """A damaged file takes no candles."""
        try:
            self._store.spans(series)
        except StorageError as error:
            return error
        return None

    def _read(self, series: Series) -> tuple[CandleRows, list[Finding]]:
        if series not in self._held:
            while len(self._held) >= _FILES_HELD:
                del self._held[next(iter(self._held))]
            self._held[series] = self._read_anew(series)
        return self._held[series]

    def _read_anew(self, series: Series) -> tuple[CandleRows, list[Finding]]:
        try:
            return self._store.read(series), []
        except StorageError:  # damaged: look at what it has all the same
            return ordered_rows(*read_file(self._store.path(series), series, whole_lines=True))


class TableShelf:
    """One table of rows of one series, in any order."""

    def __init__(self, rows: CandleRows, refused: int) -> None:
        """``refused`` is how many rows could not be read."""
        self._rows, self._remarks = ordered_rows(rows, refused)

    @property
    def end(self) -> UtcMs | None:
        """Where the last row's bar closes, None if there is no row."""
        opens = self._rows.open_time
        return self._rows.series.timeframe.close_of(int(opens[-1])) if len(opens) else None

    def series(self) -> list[Series]:
        """The one."""
        return [self._rows.series]

    def known(self, series: Series) -> Known:  # noqa: ARG002
        """Nothing."""
        return Known()

    def rows(self, series: Series, since: UtcMs | None, until: UtcMs | None) -> Iterator[CandleRows]:  # noqa: ARG002
        """The rows, ascending."""
        yield from _pieces(self._rows, since, until)

    def remarks(self, series: Series, span: Span) -> list[Finding]:  # noqa: ARG002
        """What was wrong with the rows as a whole."""
        return self._remarks

    def broken(self, series: Series) -> StorageError:
        """There is nowhere to write to."""
        return StorageError(f"{series} is no store of chandlery's.", hint="Import it first.")


def ordered_rows(rows: CandleRows, refused: int) -> tuple[CandleRows, list[Finding]]:
    """The rows ascending, and what is wrong with them as a whole."""
    ordered, found = in_order(rows)
    if refused:
        timeframe = rows.series.timeframe
        times = ordered.open_time if len(ordered) else np.zeros(1, dtype=np.int64)
        where = Span(timeframe.floor(int(times[0])), timeframe.close_of(int(times[-1])))
        found = [*found, finding(Rule.UNREADABLE, rows.series, where, refused, f"{counted(refused, 'row')} unreadable")]
    return ordered, found


def candles(shelf: Shelf, series: Series, span: Span, now: UtcMs) -> CandleBatch:
    """The sound candles of a span, without what breaks a rule."""
    pieces = [judge(rows, now=now, raw=str).accepted for rows in shelf.rows(series, span.start, span.end)]
    return CandleBatch.joined(series, pieces)


def _pieces(rows: CandleRows, since: UtcMs | None, until: UtcMs | None) -> Iterator[CandleRows]:
    """The rows of ``[since, until)``, which ascend, in pieces. All rows of a bar are in one, to be judged together."""
    first = 0 if since is None else int(np.searchsorted(rows.open_time, since))
    end = len(rows) if until is None else int(np.searchsorted(rows.open_time, until))
    while first < end:
        last = int(rows.open_time[min(first + PIECE, end) - 1])
        stop = min(int(np.searchsorted(rows.open_time, rows.series.timeframe.close_of(last))), end)
        yield rows.take(slice(first, stop))
        first = stop
