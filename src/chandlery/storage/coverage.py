"""The coverage ledger: which spans of a series have been asked for, answered, and committed.

It is extended by the writer alone, in the transaction of the candles. Here it is read, and here stands what is
remembered beside it: the proved start of history and the last error of a series.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from chandlery.domain.instrument import Series
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import TIMEFRAMES, UtcMs
from chandlery.storage.catalog import Catalog
from chandlery.storage.database import Database, is_quiet
from chandlery.storage.pgtime import to_datetime, to_ms, to_multirange, to_spans
from chandlery.storage.sql import query

_ORDER = {name: number for number, name in enumerate(TIMEFRAMES)}


def lock_key(purpose: int, instrument_id: int, series: Series) -> int:
    """The advisory lock of a series: one for writing (purpose 1), one for being collected (purpose 2)."""
    return (purpose << 48) | (instrument_id << 8) | _ORDER[series.timeframe.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One series in the ledger. ``begins_at`` is the proved start of history, None if nobody probed it.

    ``derived`` is the part of ``spans`` whose candles were made of finer ones of ours instead of being fetched, and
    ``retired`` the part whose candles retention has dropped.
    """

    series: Series
    instrument_id: int
    spans: Spans
    begins_at: UtcMs | None
    updated_at: UtcMs
    last_error: Mapping[str, Any] | None
    derived: Spans
    retired: Spans = field(default_factory=Spans)

    @property
    def held(self) -> Spans:
        """What is known and was not dropped: every candle of it is here."""
        return self.spans - self.retired


class Claim:
    """A series taken for collecting: true as long as it is ours. Looking costs no round trip."""

    def __init__(self, connection: psycopg.Connection, taken: bool) -> None:
        self._connection = connection
        self._taken = taken

    def __bool__(self) -> bool:
        self._taken = self._taken and is_quiet(self._connection)
        return self._taken


class Ledger:
    """Reads the coverage of series, and lets one collector at a time have a series."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    def covered(self, series: Series) -> Spans:
        """The spans of a series that are known; empty for a series never seen."""
        instrument_id = self._catalog.find(series.exchange, series.symbol)
        if instrument_id is None:
            return Spans()
        return self._database.transact(lambda connection: read_coverage(connection, instrument_id, series))

    def beginning(self, series: Series) -> UtcMs | None:
        """The proved start of the exchange's history, if it was probed."""
        instrument_id = self._catalog.ensure(series.exchange, series.symbol)
        row = self._database.transact(
            lambda connection: connection.execute(query("read_beginning"), _key(instrument_id, series)).fetchone()
        )
        return to_ms(row[0]) if row and row[0] is not None else None

    def remember_beginning(self, series: Series, begins_at: UtcMs) -> None:
        """Keep the start of history, so that it is probed once."""
        self._store("remember_beginning", series, {"begins_at": to_datetime(begins_at)})

    def remember_error(self, series: Series, error: Mapping[str, Any]) -> None:
        """Keep what last went wrong with a series, for ``chandlery status``; the next good write clears it.

        Where nothing may be written (a standby, a session for readers) there is nothing to wait for.
        """
        if self._database.transact(_may_write):
            self._store("remember_error", series, {"error": Jsonb(dict(error))})

    def entries(self) -> list[LedgerEntry]:
        """Every series of the database."""

        def read(connection: psycopg.Connection) -> list[LedgerEntry]:
            return [_entry(*row) for row in connection.execute(query("all_series"))]

        return self._database.transact(read)

    @contextlib.contextmanager
    def claim(self, series: Series) -> Iterator[Claim]:
        """Take a series for collecting; the claim is false if another collector has it.

        It is a lock of an open transaction on a connection of its own: it ends with the block, and with the process
        however that dies. It also ends with its connection, and so the claim turns false when that is lost.
        """
        key = lock_key(2, self._catalog.ensure(series.exchange, series.symbol), series)

        def take(connection: psycopg.Connection) -> bool:
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [key]).fetchone()
            return bool(row and row[0])

        connection, taken = self._database.begin(take)
        try:
            yield Claim(connection, taken)
        finally:
            connection.close()

    def _store(self, name: str, series: Series, values: dict[str, Any]) -> None:
        instrument_id = self._catalog.ensure(series.exchange, series.symbol)
        parameters = {**_key(instrument_id, series), **values}
        self._database.transact(lambda connection: connection.execute(query(name), parameters))


def _may_write(connection: psycopg.Connection) -> bool:
    [(read_only,)] = connection.execute("SHOW transaction_read_only")
    return bool(read_only == "off")


def read_coverage(connection: psycopg.Connection, instrument_id: int, series: Series) -> Spans:
    """The spans that are known, as the transaction that ``connection`` is in sees them."""
    row = connection.execute(query("read_coverage"), _key(instrument_id, series)).fetchone()
    return to_spans(row[0]) if row else Spans()


def read_held(connection: psycopg.Connection, instrument_id: int, series: Series) -> Spans:
    """The same without what retention has dropped."""
    row = connection.execute(query("read_held"), _key(instrument_id, series)).fetchone()
    return to_spans(row[0]) if row else Spans()


def read_derived(connection: psycopg.Connection, instrument_id: int, series: Series) -> Spans:
    """Where what is stored was made of finer candles of ours, also where it is stale and not known any more."""
    row = connection.execute(query("read_derived"), _key(instrument_id, series)).fetchone()
    return to_spans(row[0]) if row else Spans()


def extend_coverage(
    connection: psycopg.Connection, instrument_id: int, series: Series, spans: Spans, *, derived: bool = False
) -> None:
    """Add ``spans`` to the ledger in the transaction that ``connection`` is in, as derived or as fetched ones."""
    parameters = {"spans": to_multirange(spans), "derived": to_multirange(spans if derived else Spans())}
    connection.execute(query("extend_coverage"), _key(instrument_id, series) | parameters)


def extend_coverages(connection: psycopg.Connection, known: Sequence[tuple[int, Series, Spans]]) -> None:
    """The same for many series at once; each stands there once."""
    if known:
        parameters = {
            "instruments": [number for number, _, _ in known],
            "timeframes": [series.timeframe.name for _, series, _ in known],
            "spans": [to_multirange(spans) for _, _, spans in known],
        }
        connection.execute(query("extend_coverages"), parameters)


def _key(instrument_id: int, series: Series) -> dict[str, Any]:
    return {"instrument_id": instrument_id, "timeframe": series.timeframe.name}


def _entry(
    exchange: str,
    symbol: str,
    timeframe: str,
    instrument_id: int,
    spans: Any,
    begins_at: Any,
    updated_at: Any,
    error: Any,
    derived: Any,
    retired: Any,
) -> LedgerEntry:
    return LedgerEntry(
        series=Series(exchange, symbol, TIMEFRAMES[timeframe]),
        instrument_id=instrument_id,
        spans=to_spans(spans),
        begins_at=None if begins_at is None else to_ms(begins_at),
        updated_at=to_ms(updated_at),
        last_error=error,
        derived=to_spans(derived),
        retired=to_spans(retired),
    )
