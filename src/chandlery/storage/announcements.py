"""Telling others what was stored: a NOTIFY a delivery, sent with the transaction that stores it, and who hears it.

PostgreSQL delivers a notification when its transaction commits, once, and none if it is undone. Nobody has to listen:
what is announced can always be read again, so a listener that was away looks at the ledger and has missed nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import msgspec
import psycopg
from psycopg import sql

from chandlery.domain.timeframe import UtcMs
from chandlery.storage.database import Database
from chandlery.storage.delivery import Delivery, SaveResult
from chandlery.storage.failures import Phase, translated
from chandlery.storage.sql import query

CHANNEL = "chandlery_candles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """Candles of one series that are committed. They open in [start, end), UTC milliseconds.

    ``inserted`` of them are new; ``revised`` had been there with other values.
    """

    exchange: str
    symbol: str
    timeframe: str
    start: UtcMs
    end: UtcMs
    inserted: int
    revised: int

    @classmethod
    def of(cls, delivery: Delivery, result: SaveResult) -> Self | None:
        """What there is to tell of a delivery; None if it changed nothing."""
        span, series = delivery.batch.span, delivery.batch.series
        if span is None or not (result.inserted or result.revised):
            return None
        return cls(
            exchange=series.exchange,
            symbol=series.symbol,
            timeframe=series.timeframe.name,
            start=span.start,
            end=span.end,
            inserted=result.inserted,
            revised=result.revised,
        )


def announce(connection: psycopg.Connection, outcomes: Sequence[tuple[Delivery, SaveResult]]) -> None:
    """Tell whoever listens, once the transaction that ``connection`` is in commits, what these deliveries changed."""
    told = [Announcement.of(delivery, result) for delivery, result in outcomes]
    payloads = [json.dumps(asdict(one), separators=(",", ":")) for one in told if one is not None]
    if payloads:
        connection.execute(query("announce"), {"channel": CHANNEL, "payloads": payloads})


def listen(connection_string: str) -> Iterator[Announcement]:
    """What is stored from now on, as it is committed, by writers that announce it; waits for ever in between.

    It listens when this returns, on a connection of its own that ends with the iterator. It goes to the server itself:
    a pooler in transaction mode passes no notifications on. Raises ConnectionError when the server cannot be reached
    or is lost; listen again then, and read what came in between.
    """
    connection = Database(connection_string).connect()
    connection.autocommit = True
    try:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
    except psycopg.Error as error:
        connection.close()
        raise translated(error, broken=connection.broken, phase=Phase.EXECUTE) from error
    return _heard(connection)


def _heard(connection: psycopg.Connection) -> Iterator[Announcement]:
    with connection:
        try:
            for notification in connection.notifies():
                announcement = _understood(notification.payload)
                if announcement is not None:
                    yield announcement
        except psycopg.Error as error:
            raise translated(error, broken=connection.broken, phase=Phase.EXECUTE) from error


def _understood(payload: str) -> Announcement | None:
    """What was announced, or None: whoever may connect may notify, and may say anything."""
    try:
        return msgspec.json.decode(payload, type=Announcement)
    except (ValueError, RecursionError):
        return None
