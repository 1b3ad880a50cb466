"""Which instruments are known, and under which number the database keeps them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Any

import psycopg

from chandlery.domain.instrument import Instrument, Kind, near_symbols
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

        def look(connection: psycopg.Connection) -> list[str]:
            return [row[0] for row in connection.execute(query("exchanges_with_symbol"), {"symbol": symbol})]

        exchanges = self._database.transact(look)
        if not exchanges:
            raise self.unknown(symbol)
        if len(exchanges) > 1 and exchanges[0] != DEFAULT_EXCHANGE:
            raise DataNotFoundError(
                f"{symbol} is stored for several exchanges: {', '.join(exchanges)}.", hint="Name one with exchange=..."
            )
        return exchanges[0]

    def unknown(self, symbol: str) -> DataNotFoundError:
        """The error for a symbol without candles, with the names that look like it."""

        def look(connection: psycopg.Connection) -> list[str]:
            return [row[1] for row in connection.execute(query("all_series"))]

        near = near_symbols(symbol, dict.fromkeys(self._database.transact(look)))
        meant = f"Did you mean {' or '.join(near)}?" if near else "Collect it: chandlery collect " + symbol
        return DataNotFoundError(f"no candles of {symbol} are stored.", hint=meant)

    def _look_up(self, connection: psycopg.Connection, exchange: str, symbol: str) -> int | None:
        row = connection.execute(query("find_instrument"), {"exchange": exchange, "symbol": symbol}).fetchone()
        if row is None:
            return None
        with self._lock:
            self._ids[(exchange, symbol)] = row[0]
        return int(row[0])


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
