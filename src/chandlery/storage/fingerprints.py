"""What a database holds, in few words: for every month of every series a count and a fingerprint, and the ledger.

The fingerprint of candles is the SHA-256 of their rows in order of time, a row being the binary values that PostgreSQL
sends. So the server reckons it where candles are rows, and we where they are sealed or stand in a file.

All functions work in the transaction that their connection is in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg import sql

from chandlery.domain.candle import CandleBatch, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES, UtcMs
from chandlery.storage.copy_binary import stored_form
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_ms, to_spans
from chandlery.storage.sealed import SealedSeries, unit_of
from chandlery.storage.sql import query

Kept = Literal["rows", "both", "segment", "archive"]
"""As rows, as rows and a segment, as a segment alone, or as a file outside of the database alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPrint:
    """The candles of a series that open in ``span``, what is sealed as one: a month below 1h, a year below 1d.

    ``sha256`` is their fingerprint; that of the file where they are in the archive alone.
    """

    span: Span
    candles: int
    first: UtcMs
    last: UtcMs
    sha256: str
    kept: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPrint:
    """A series: its candles by units, in order, and what the ledger says of it."""

    series: Series
    instrument_id: int
    spans: Spans
    derived: Spans
    begins_at: UtcMs | None
    units: tuple[UnitPrint, ...]

    @property
    def candles(self) -> int:
        """How many are stored."""
        return sum(unit.candles for unit in self.units)


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePrint:
    """The rows of a table beside the candles, by these of its columns."""

    columns: tuple[str, ...]
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that a database holds."""

    series: tuple[SeriesPrint, ...]
    tables: Mapping[str, TablePrint]


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A table beside the candles; the server numbers its ``identities`` itself."""

    name: str
    columns: tuple[str, ...]
    identities: tuple[str, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """To be composed into a statement."""
        return sql.Identifier("chandlery", self.name)


OnSeries = Callable[[Series], None]


def fingerprint(candles: CandleRows) -> str:
    """The SHA-256 of candles in order of time, as ``unit_fingerprints`` reckons it in the server."""
    return hashlib.sha256(stored_form(candles)).hexdigest()


def read_contents(
    connection: psycopg.Connection, on_series: OnSeries, tables: Mapping[str, tuple[str, ...]] | None = None
) -> Contents:
    """What the transaction sees. ``tables`` picks tables and columns, all if not given. Raises DamagedDataError."""
    series = []
    for found in _all_series(connection):
        on_series(found.series)
        series.append(found.with_units(connection))
    picked = {table.name: table.columns for table in plain_tables(connection)} if tables is None else tables
    prints = {name: table_print(connection, name, columns) for name, columns in picked.items()}
    return Contents(series=tuple(series), tables=prints)


def plain_tables(connection: psycopg.Connection) -> list[PlainTable]:
    """Every table of the schema beside those of the candles."""
    rows = connection.execute(query("plain_tables"))
    return [PlainTable(name, tuple(columns), tuple(identities or ())) for name, columns, identities in rows]


def table_print(connection: psycopg.Connection, name: str, columns: tuple[str, ...]) -> TablePrint:
    """The fingerprint of a table's rows, by some of its columns."""
    picked = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = query("table_fingerprint", columns=picked, table=sql.Identifier("chandlery", name))
    row = connection.execute(statement).fetchone()
    assert row is not None
    return TablePrint(columns=columns, rows=row[0], sha256=row[1])


def unit_candles(connection: psycopg.Connection, of: SeriesPrint, unit: UnitPrint) -> CandleBatch:
    """The candles behind a fingerprint, unless they are in the archive alone. Raises DamagedDataError."""
    held = SealedSeries(connection, of.instrument_id, of.series)
    return held.candles(unit.span) if unit.kept == "segment" else held.rows(unit.span)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A series of which something is known or stored."""

    series: Series
    instrument_id: int
    spans: Spans
    derived: Spans
    begins_at: UtcMs | None

    def with_units(self, connection: psycopg.Connection) -> SeriesPrint:
        units = {unit.span: unit for unit in self._units(connection)}
        return SeriesPrint(
            series=self.series,
            instrument_id=self.instrument_id,
            spans=self.spans,
            derived=self.derived,
            begins_at=self.begins_at,
            units=tuple(units[span] for span in sorted(units)),
        )

    def _units(self, connection: psycopg.Connection) -> Iterator[UnitPrint]:
        sealed = {row[0]: row for row in connection.execute(query("sealed_units"), self._key)}
        statement = query("unit_fingerprints", table=table_of(self.series.timeframe))
        for start, *values in connection.execute(statement, self._key):
            span = unit_of(self.series.timeframe, to_ms(start))
            yield _unit_print(span, *values, kept="both" if start in sealed else "rows")
        held = SealedSeries(connection, self.instrument_id, self.series)
        for start, end, rows_kept, candles, first, last, archived in sealed.values():
            if not rows_kept:
                span = Span(to_ms(start), to_ms(end))
                sha256 = archived or fingerprint(held.candles(span))
                yield _unit_print(span, candles, first, last, sha256, kept="archive" if archived else "segment")

    @property
    def _key(self) -> dict[str, Any]:
        return {"instrument_id": self.instrument_id, "timeframe": self.series.timeframe.name}


def _unit_print(span: Span, candles: int, first: datetime, last: datetime, sha256: str, *, kept: Kept) -> UnitPrint:
    return UnitPrint(span=span, candles=candles, first=to_ms(first), last=to_ms(last), sha256=sha256, kept=kept)


def _all_series(connection: psycopg.Connection) -> list[_Found]:
    """What the ledger knows, and what is stored without it."""
    found = {}
    stored = connection.execute(query("series_with_candles"), {"timeframes": list(TIMEFRAMES)}).fetchall()
    for number, exchange, symbol, bar in [*stored, *connection.execute(query("sealed_series"))]:
        series = Series(exchange, symbol, TIMEFRAMES[bar])
        found[series] = _Found(series=series, instrument_id=number, spans=Spans(), derived=Spans(), begins_at=None)
    for number, exchange, symbol, bar, spans, derived, begins_at in connection.execute(query("covered_series")):
        series = Series(exchange, symbol, TIMEFRAMES[bar])
        found[series] = _Found(
            series=series,
            instrument_id=number,
            spans=to_spans(spans),
            derived=to_spans(derived),
            begins_at=None if begins_at is None else to_ms(begins_at),
        )
    order = {name: number for number, name in enumerate(TIMEFRAMES)}
    return sorted(found.values(), key=lambda f: (f.series.exchange, f.series.symbol, order[f.series.timeframe.name]))
