"""Candles into PostgreSQL and CSV files at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.services.outputs.database import PostgresOutput
from chandlery.services.outputs.files import CsvOutput
from chandlery.storage.coverage import Claim
from chandlery.storage.writer import Delivery, SaveResult

if TYPE_CHECKING:
    from chandlery.storage.pace import PaceLine


class BothOutputs:
    """PostgreSQL and CSV files: a span is covered when both have it."""

    oldest_first = True

    def __init__(self, postgres: PostgresOutput, csv: CsvOutput) -> None:
        self._postgres = postgres
        self._csv = csv

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """The catalogue is the database's."""
        self._postgres.prepare(instruments)

    def started(self, what: str) -> None:
        """The database remembers runs."""
        self._postgres.started(what)

    def ended(self, outcome: str, pages: int, result: SaveResult) -> None:
        """The database remembers runs."""
        self._postgres.ended(outcome, pages, result)

    def covered(self, series: Series) -> Spans:
        """What neither lacks."""
        return self._postgres.covered(series) & self._csv.covered(series)

    def beginning(self, series: Series) -> UtcMs | None:
        """As the ledger remembers it."""
        return self._postgres.beginning(series)

    def remember_beginning(self, series: Series, begins_at: UtcMs) -> None:
        """In the ledger."""
        self._postgres.remember_beginning(series, begins_at)

    def remember_error(self, series: Series, error: Mapping[str, Any]) -> None:
        """In the ledger."""
        self._postgres.remember_error(series, error)

    def claim(self, series: Series) -> contextlib.AbstractContextManager[Claim]:
        """The database decides."""
        return self._postgres.claim(series)

    def save(self, delivery: Delivery) -> SaveResult:
        """First the database, which counts; then the file."""
        result = self._postgres.save(delivery)
        self._csv.save(delivery)
        return result

    def roll_up(self, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
        """Each of its own finer candles; the database counts."""
        yield from self._postgres.roll_up(series, finer, wanted)
        for _ in self._csv.roll_up(series, finer, wanted):
            pass

    def finish(self, series: Series) -> SaveResult:
        """Merge what the files still lack; the database has it all."""
        self._csv.finish(series)
        return SaveResult()

    def take_slots(self, line: PaceLine, interval_s: float, count: int) -> float | None:
        """Of the database."""
        return self._postgres.take_slots(line, interval_s, count)

    def give_up(self) -> None:
        """Only the database can keep anybody waiting."""
        self._postgres.give_up()

    def take_heart(self) -> None:
        """It may again."""
        self._postgres.take_heart()
