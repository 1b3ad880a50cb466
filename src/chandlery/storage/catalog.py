"""Which instruments are known, and under which number the database keeps them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from chandlery.domain.instrument import Instrument, Kind, Series, canonical_symbol, near_symbols
from chandlery.errors import DataNotFoundError
from chandlery.storage.database import Database
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.sql import query

DEFAULT_EXCHANGE = "okx"


class Catalog:
    """The instruments of one database. Numbers never change, so they are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[tuple[str, str], int] = {}
        self._stored: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def find(self, exchange: str, symbol: str) -> int | None:
        """The instrument's number, or None if nobody ever stored it."""
        with self._lock:
            known = self._ids.get((exchange, symbol))
        if known is not None:
            return known
        return self._database.transact(lambda connection: self._look_up(connection, exchange, symbol))

    def ensure(self, exchange: str, symbol: str) -> int:
        """The instrument's number; one that nobody described yet is added with what its name tells."""
        found = self.find(exchange, symbol)
        if found is not None:
            return found

        def add(connection: psycopg.Connection) -> int:
            connection.execute(query("add_instrument"), _parameters(described_by_name(exchange, symbol)))
            added = self._look_up(connection, exchange, symbol)
            assert added is not None
            return added

        return self._database.transact(add)

    def refresh(self, instruments: Iterable[Instrument]) -> None:
        """Add what is new and take over what the exchange says now; nothing is ever removed."""
        rows = [_parameters(instrument) for instrument in instruments]

        def store(connection: psycopg.Connection) -> None:
            with connection.cursor() as cursor:
                cursor.executemany(query("refresh_instruments"), rows)

        self._database.transact(store)

    def exchange_of(self, symbol: str) -> str:
        """The exchange whose candles a reader means who names none: ``okx`` if it has the symbol, else the only one.

        Raises DataNotFoundError if no exchange has candles of the symbol, and names near ones.
        """
        return self.exchanges_of([symbol])[symbol]

    def exchanges_of(self, symbols: Sequence[str], exchange: str | None = None) -> dict[str, str]:
        """The same for several symbols at once, of ``exchange`` if given; the error names all that are not stored.

        Who was once found is not looked for again: whoever reads much in small pieces would ask that as often.
        """
        asked = exchange or DEFAULT_EXCHANGE  # what it has is meant, whoever has it too
        with self._lock:
            if all((asked, symbol) in self._stored for symbol in symbols):
                return dict.fromkeys(symbols, asked)
        parameters = {"symbols": list(symbols), "exchange": exchange}

        def look(connection: psycopg.Connection) -> list[tuple[str, list[str]]]:
            return connection.execute(query("exchanges_with_symbols"), parameters).fetchall()

        exchanges = dict(self._database.transact(look))
        unknown = [symbol for symbol in symbols if symbol not in exchanges]
        if unknown:
            raise self.unknown(*unknown)
        found = {symbol: _meant(symbol, exchanges[symbol]) for symbol in symbols}
        with self._lock:
            self._stored.update((exchange, symbol) for symbol, exchange in found.items())
        return found

    def among(self, symbols: Iterable[str], stored: Iterable[Series]) -> set[str]:
        """The canonical names of ``symbols``. Raises DataNotFoundError if any has no series among those ``stored``."""
        wanted = {canonical_symbol(symbol) for symbol in symbols}
        unknown = wanted - {series.symbol for series in stored}
        if unknown:
            raise self.unknown(*sorted(unknown))
        return wanted

    def unknown(self, *symbols: str) -> DataNotFoundError:
        """The error for symbols without candles, with the names that look like them."""

        def look(connection: psycopg.Connection) -> list[str]:
            return [symbol for _, symbol, _, _, spans, *_ in connection.execute(query("all_series")) if spans]

        known = dict.fromkeys(self._database.transact(look))
        near = dict.fromkeys(name for symbol in symbols for name in near_symbols(symbol, known))
        meant = f"Did you mean {' or '.join(near)}?" if near else "Collect it: chandlery collect " + " ".join(symbols)
        return DataNotFoundError(f"no candles of {', '.join(symbols)} are stored.", hint=meant)

    def _look_up(self, connection: psycopg.Connection, exchange: str, symbol: str) -> int | None:
        row = connection.execute(query("find_instrument"), {"exchange": exchange, "symbol": symbol}).fetchone()
        if row is None:
            return None
        with self._lock:
            self._ids[(exchange, symbol)] = row[0]
        return int(row[0])


def _meant(symbol: str, exchanges: Sequence[str]) -> str:
    if len(exchanges) > 1 and exchanges[0] != DEFAULT_EXCHANGE:
        raise DataNotFoundError(
            f"{symbol} is stored for several exchanges: {', '.join(exchanges)}.",
            hint='Name one: --exchange NAME, or in Python exchange="NAME".',
        )
    return exchanges[0]


def described_by_name(exchange: str, symbol: str) -> Instrument:
    """What the exchange's naming scheme tells of an instrument: its kind and its currencies."""
    base, *rest = symbol.split("-")
    quote = rest[0] if rest else ""
    kind = Kind.SPOT
    if rest and rest[-1] == "SWAP":
        kind = Kind.SWAP
    elif rest and re.fullmatch(r"\d{6}", rest[-1]):
        kind = Kind.FUTURES
    return Instrument(exchange=exchange, symbol=symbol, kind=kind, base=base, quote=quote, state="unknown")


def _parameters(instrument: Instrument) -> dict[str, Any]:
    return {
        "exchange": instrument.exchange,
        "symbol": instrument.symbol,
        "kind": instrument.kind.value,
        "base": instrument.base,
        "quote": instrument.quote,
        "settle": instrument.settle,
        "tick_size": instrument.tick_size,
        "lot_size": instrument.lot_size,
        "contract_value": instrument.contract_value,
        "listed_at": None if instrument.listed_at is None else to_datetime(instrument.listed_at),
        "expires_at": None if instrument.expires_at is None else to_datetime(instrument.expires_at),
        "state": instrument.state,
    }
