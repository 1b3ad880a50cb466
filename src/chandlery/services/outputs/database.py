"""Candles into PostgreSQL, whose ledger says what is covered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.services.roll_up import rolled_up
from chandlery.storage.coverage import Claim
from chandlery.storage.runs import RunLog
from chandlery.storage.writer import Delivery, SaveResult

if TYPE_CHECKING:
    from chandlery.storage.pace import PaceLine
    from chandlery.storage.postgres import PostgreSQLStorage


class PostgresOutput:
    """The database: its ledger says what is covered."""

    oldest_first = False

    def __init__(self, storage: PostgreSQLStorage) -> None:
        self._storage = storage
        self._runs = RunLog(storage.database)
        self._run_number: int | None = None

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """Refresh the catalogue of instruments."""
        self._storage.catalog.refresh(instruments)

    def started(self, what: str) -> None:
        """A row in the table ``run``."""
        self._run_number = self._runs.start(what)

    def ended(self, outcome: str, pages: int, result: SaveResult) -> None:
        """The rest of that row."""
        if self._run_number is not None:
            self._runs.finish(self._run_number, outcome, pages, result)

    def covered(self, series: Series) -> Spans:
        """The ledger's spans."""
        return self._storage.ledger.covered(series)

    def beginning(self, series: Series) -> UtcMs | None:
        """As the ledger remembers it."""
        return self._storage.ledger.beginning(series)

    def remember_beginning(self, series: Series, begins_at: UtcMs) -> None:
        """In the ledger."""
        self._storage.ledger.remember_beginning(series, begins_at)

    def remember_error(self, series: Series, error: Mapping[str, Any]) -> None:
        """In the ledger."""
        self._storage.ledger.remember_error(series, error)

    def claim(self, series: Series) -> contextlib.AbstractContextManager[Claim]:
        """By an advisory lock."""
        return self._storage.ledger.claim(series)

    def save(self, delivery: Delivery) -> SaveResult:
        """Candles, revisions, rejected rows and coverage in one transaction."""
        return self.save_all([delivery])

    def save_all(self, deliveries: Sequence[Delivery]) -> SaveResult:
        """The same for several series, in one transaction for all."""
        return self._storage.writer.write(deliveries)

    def roll_up(self, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
        """Each step is a transaction, and the ledger marks what was derived."""
        return rolled_up(self._storage, series, finer, wanted)

    def finish(self, series: Series) -> SaveResult:  # noqa: ARG002
        """Every page was committed as it came."""
        return SaveResult()

    def take_slots(self, line: PaceLine, interval_s: float, count: int) -> float | None:
        """Of a row in the database."""
        return self._storage.pace.take(line, interval_s, count)

    def give_up(self) -> None:
        """A database that does not answer is not waited for any longer."""
        self._storage.database.give_up()

    def take_heart(self) -> None:
        """It is again."""
        self._storage.database.take_heart()
