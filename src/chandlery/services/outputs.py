"""Where collected candles go: PostgreSQL, CSV files, or both; the collector sees one thing that knows its coverage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.services.roll_up import rolled_up, rolled_up_on_file
from chandlery.storage.coverage import Claim
from chandlery.storage.runs import RunLog
from chandlery.storage.writer import Delivery, SaveResult

if TYPE_CHECKING:
    from chandlery.storage.csv_files import CsvStore
    from chandlery.storage.pace import PaceLine
    from chandlery.storage.postgres import PostgreSQLStorage

_CANDLES_IN_HAND = 6_000
"""CSV pages are joined up to this many candles before the file is touched."""


class Output(Protocol):
    """A place that keeps candles and knows which spans it has. All methods block; call them from a thread."""

    oldest_first: bool
    """Whether it is cheaper to be given a series from its beginning."""

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """Take note of what the exchange lists."""
        ...

    def started(self, what: str) -> None:
        """Note that a collection starts."""
        ...

    def ended(self, outcome: str, pages: int, result: SaveResult) -> None:
        """Note how the collection ended that was started last."""
        ...

    def covered(self, series: Series) -> Spans:
        """The spans that need not be asked for again."""
        ...

    def beginning(self, series: Series) -> UtcMs | None:
        """The proved start of history, if it is remembered."""
        ...

    def remember_beginning(self, series: Series, begins_at: UtcMs) -> None:
        """Keep the proved start of history."""
        ...

    def remember_error(self, series: Series, error: Mapping[str, Any]) -> None:
        """Keep what went wrong with a series."""
        ...

    def claim(self, series: Series) -> contextlib.AbstractContextManager[Claim | bool]:
        """Take the series for this collector: true as long as it has it, false if another one does."""
        ...

    def save(self, delivery: Delivery) -> SaveResult:
        """Store a page: all of it or nothing."""
        ...

    def roll_up(self, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
        """Make what is not covered in ``wanted`` of the finer candles that are kept, where they are whole; by steps."""
        ...

    def finish(self, series: Series) -> SaveResult:
        """No more of this series comes now: nothing may stay in memory only; what that stored."""
        ...

    def take_slots(self, line: PaceLine, interval_s: float, count: int) -> float | None:
        """Take ``count`` slots of a pace that collectors share: in how many seconds the first is.

        None if no such pace is kept.
        """
        ...

    def give_up(self) -> None:
        """Wait no longer for a store that is away: calls under way fail soon. Never blocks, callable at any time."""
        ...

    def take_heart(self) -> None:
        """Undo ``give_up``."""
        ...


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


class CsvOutput:
    """One file a series: covered is what the file holds. Pages are joined before the file is touched."""

    oldest_first = True

    def __init__(self, store: CsvStore) -> None:
        self._store = store
        self._in_hand: dict[Series, list[CandleBatch]] = {}

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """Files need no catalogue."""

    def started(self, what: str) -> None:
        """Files remember no runs."""

    def ended(self, outcome: str, pages: int, result: SaveResult) -> None:
        """Files remember no runs."""

    def covered(self, series: Series) -> Spans:
        """The runs of candles on file."""
        return self._store.spans(series)

    def beginning(self, series: Series) -> UtcMs | None:
        """As noted beside the files."""
        return self._store.beginning(series)

    def remember_beginning(self, series: Series, begins_at: UtcMs) -> None:
        """Beside the files."""
        self._store.remember_beginning(series, begins_at)

    def remember_error(self, series: Series, error: Mapping[str, Any]) -> None:
        """Files remember none."""

    def claim(self, series: Series) -> contextlib.AbstractContextManager[bool]:  # noqa: ARG002
        """Files are locked while they are written; two collectors of one series merge."""
        return contextlib.nullcontext(True)

    def save(self, delivery: Delivery) -> SaveResult:
        """Take the page in hand; full hands are merged into the file."""
        series = delivery.batch.series
        pages = self._in_hand.setdefault(series, [])
        pages.append(delivery.batch)
        rejected = len(delivery.rejected) if delivery.rejected else 0
        if sum(map(len, pages)) < _CANDLES_IN_HAND:
            return SaveResult(rejected=rejected)
        return self._merge(series) + SaveResult(rejected=rejected)

    def roll_up(self, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
        """From one file into the other."""
        return rolled_up_on_file(self._store, series, finer, wanted)

    def finish(self, series: Series) -> SaveResult:
        """Merge what is in hand."""
        return self._merge(series)

    def take_slots(self, line: PaceLine, interval_s: float, count: int) -> float | None:  # noqa: ARG002
        """Files know of no other collector."""
        return None

    def give_up(self) -> None:
        """Files are waited for by nobody."""

    def take_heart(self) -> None:
        """Nothing was given up."""

    def _merge(self, series: Series) -> SaveResult:
        pages = self._in_hand.pop(series, [])
        ordered = sorted((page for page in pages if len(page)), key=lambda page: int(page.open_time[0]))
        counts = self._store.save(CandleBatch.joined(series, ordered))
        return SaveResult(inserted=counts.inserted, unchanged=counts.unchanged, revised=counts.revised)


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
