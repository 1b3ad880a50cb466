"""Collecting with the exchange's files: the same candles as from its pages, in fewer requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from chandlery.domain.candle import CandleRows, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.resilience import Backoff
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, TIMEFRAMES
from chandlery.exchange.okx import Endpoint, OkxSettings, OkxSource
from chandlery.exchange.okx.periods import FIRST_FILE_MS
from chandlery.exchange.pacing import RateLimit
from chandlery.services.collect import Bulk, Collector, Progress, SeriesReport, Wanted
from chandlery.services.outputs import CsvOutput, Output, PostgresOutput
from chandlery.simulator import FILE_FAULTS, FaultKind, FixedClock, SeededMarket, Simulator
from chandlery.simulator.bars import utc_bar
from chandlery.simulator.endpoints import FILE_LISTING, FILES
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.postgres import PostgreSQLStorage

MARCH = 1_709_251_200_000  # 2024-03-01 UTC
NOW = MARCH + 30_000
MINUTE = TIMEFRAMES["1m"]
FAST = dict.fromkeys(Endpoint, RateLimit(requests=100_000, window_s=2.0))
FEBRUARY = Span(MARCH - 29 * DAY_MS - 8 * HOUR_MS, MARCH - 8 * HOUR_MS)
"""As a file has it: from midnight to midnight in UTC+8. Its file does not exist yet at NOW."""
JANUARY = Span(FEBRUARY.start - 31 * DAY_MS, FEBRUARY.start)


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(SeededMarket(3), clock=FixedClock(NOW)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def exchange(running: Simulator) -> Iterator[Simulator]:
    running.journal.clear()
    yield running
    running.disarm()


def series(symbol: str = "BTC-USDT", interval: str = "1m") -> Series:
    return Series("okx-simulated", symbol, TIMEFRAMES[interval])


@dataclass
class Watcher:
    """Looks at the progress, and stops the collector after ``pages``."""

    collector: Collector | None = None
    pages: int | None = None
    seen: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        self.seen.append((progress.pages_done, progress.pages_planned))
        if self.pages is not None and progress.pages_done >= self.pages and self.collector:
            self.collector.stop()


def collect(
    exchange: Simulator,
    output: Output,
    span: Span,
    bulk: Bulk,
    *,
    of: Series | None = None,
    watcher: Watcher | None = None,
    since: int | None = -1,
) -> SeriesReport:
    async def run() -> SeriesReport:
        given = OkxSettings(base_url=exchange.base_url, limits=FAST, backoff=Backoff(base_s=0.001, cap_s=0.01))
        one = of or series()
        wanted = Wanted(
            symbols=[one.symbol],
            timeframes=[one.timeframe],
            since=span.start if since == -1 else since,
            until=span.end,
            bulk=bulk,
        )
        async with OkxSource(given) as source:
            looking = watcher or Watcher()
            looking.collector = Collector(source, output, watch=looking)
            (report,) = await looking.collector.run(wanted)
            return report

    return asyncio.run(run())


def truth(exchange: Simulator, span: Span, of: Series) -> CandleRows:
    return exchange.market.newest(of.symbol, utc_bar(of.timeframe), span, 10**9)


def assert_whole(storage: PostgreSQLStorage, exchange: Simulator, span: Span, of: Series | None = None) -> None:
    """Every candle of the exchange to the last bit, none besides, none revised, and the ledger says so."""
    one = of or series()
    stored, market = storage.reader.candles(one, Span(0, NOW)), truth(exchange, span, one)
    assert np.array_equal(stored.open_time, market.open_time)
    assert same_values(stored, market).all()
    assert storage.ledger.covered(one) == Spans([span])


def assert_honest(storage: PostgreSQLStorage, exchange: Simulator, span: Span) -> None:
    """What is stored is the exchange's, and what is covered is stored."""
    stored, market = storage.reader.candles(series(), Span(0, NOW)), truth(exchange, span, series())
    at = np.searchsorted(market.open_time, stored.open_time)
    assert same_values(stored, market.take(at)).all()
    covered = storage.ledger.covered(series())
    claimed = [time for time in market.open_time.tolist() if time in covered]
    assert np.isin(claimed, stored.open_time).all()


def files(exchange: Simulator) -> list[str]:
    return [request.file.partition("-candlesticks-")[2] for request in exchange.journal.requests if request.file]


def pages(exchange: Simulator) -> int:
    """Candle pages have both cursors; looks for the beginning of history have one."""
    return sum(1 for request in exchange.journal.requests if request.before)


# what is asked


def test_a_month_comes_as_a_file_and_the_rest_as_pages(exchange: Simulator, storage: PostgreSQLStorage) -> None:
    wanted = Span(JANUARY.start - 2 * HOUR_MS, JANUARY.end + DAY_MS)
    report = collect(exchange, PostgresOutput(storage), wanted, Bulk.AUTO)
    assert report.complete
    assert report.from_files == 31 * 1_440
    assert report.result.inserted == 32 * 1_440 + 120
    assert_whole(storage, exchange, wanted)
    assert files(exchange) == ["2024-01.zip"]
    assert pages(exchange) == 1 + 5
    assert exchange.journal.served_twice() == []


def test_the_days_of_a_month_without_a_file_come_as_files_of_days(
    exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    """February has no file at NOW; its days have, but for the last."""
    wanted = Span(FEBRUARY.start, MARCH)
    report = collect(exchange, PostgresOutput(storage), wanted, Bulk.AUTO)
    assert report.complete
    assert_whole(storage, exchange, wanted)
    assert files(exchange) == [f"2024-02-{day:02}.zip" for day in range(28, 0, -1)]
    assert report.from_files == 28 * 1_440
    assert pages(exchange) == 7, "32 hours"
    assert [request.endpoint for request in exchange.journal.requests].count(FILE_LISTING) == 3


def test_a_few_days_are_not_worth_a_file(exchange: Simulator, storage: PostgreSQLStorage) -> None:
    wanted = Span(JANUARY.start, JANUARY.start + 5 * DAY_MS)
    report = collect(exchange, PostgresOutput(storage), wanted, Bulk.AUTO)
    assert report.complete
    assert report.from_files == 0
    assert FILE_LISTING not in [request.endpoint for request in exchange.journal.requests]


def test_never_is_never(exchange: Simulator, storage: PostgreSQLStorage) -> None:
    wanted = Span(JANUARY.start, JANUARY.start + 7 * DAY_MS)
    assert collect(exchange, PostgresOutput(storage), wanted, Bulk.NEVER).complete
    assert files(exchange) == []
    assert FILE_LISTING not in [request.endpoint for request in exchange.journal.requests]


def test_only_asks_for_no_page_and_tells_what_stays_missing(exchange: Simulator, storage: PostgreSQLStorage) -> None:
    wanted = Span(JANUARY.end - 3 * DAY_MS - 2 * HOUR_MS, JANUARY.end + DAY_MS + HOUR_MS)
    report = collect(exchange, PostgresOutput(storage), wanted, Bulk.ONLY)
    assert report.complete
    assert_whole(storage, exchange, wanted)
    assert report.from_files == 4 * 1_440 + 180
    assert not any(request.bar for request in exchange.journal.requests)

    late = collect(exchange, PostgresOutput(storage), Span(MARCH - 2 * DAY_MS, MARCH), Bulk.ONLY)
    assert not late.complete
    assert late.error is None
    assert late.missing == Spans([Span(MARCH - DAY_MS - 8 * HOUR_MS, MARCH)])
    assert not any(request.bar for request in exchange.journal.requests)


def test_only_without_a_start_begins_with_the_first_file(exchange: Simulator, storage: PostgreSQLStorage) -> None:
    end = FIRST_FILE_MS + DAY_MS
    report = collect(exchange, PostgresOutput(storage), Span(0, end), Bulk.ONLY, since=None)
    assert report.wanted == Span(FIRST_FILE_MS, end)
    assert report.complete
    assert files(exchange) == ["2023-07-01.zip"]
    before = collect(exchange, PostgresOutput(storage), Span(FIRST_FILE_MS - DAY_MS, end), Bulk.ONLY)
    assert before.missing == Spans([Span(FIRST_FILE_MS - DAY_MS, FIRST_FILE_MS)])


@pytest.mark.parametrize(("bulk", "complete"), [(Bulk.AUTO, True), (Bulk.ONLY, False)])
def test_coarser_candles_have_no_files(
    exchange: Simulator, storage: PostgreSQLStorage, bulk: Bulk, *, complete: bool
) -> None:
    report = collect(exchange, PostgresOutput(storage), JANUARY, bulk, of=series(interval="1h"))
    assert report.complete is complete
    assert report.from_files == 0
    assert files(exchange) == []


def test_a_second_run_asks_for_nothing(exchange: Simulator, storage: PostgreSQLStorage) -> None:
    wanted = Span(JANUARY.start, JANUARY.start + 8 * DAY_MS)
    for bulk in (Bulk.AUTO, Bulk.AUTO, Bulk.ONLY):
        assert collect(exchange, PostgresOutput(storage), wanted, bulk).complete
    assert files(exchange) == ["2024-01.zip"]
    assert exchange.journal.served_twice() == []
    assert_whole(storage, exchange, wanted)


@pytest.mark.parametrize("symbol", ["BTC-USD-SWAP", "BTC-USDT-240329"])
def test_every_kind_of_instrument_has_the_same_candles_whichever_way_they_came(
    exchange: Simulator, new_database: Callable[..., str], symbol: str
) -> None:
    one, found = series(symbol), []
    wanted = Span(JANUARY.start, JANUARY.start + DAY_MS)
    for bulk in (Bulk.NEVER, Bulk.ONLY):
        with PostgreSQLStorage(new_database()) as storage:
            assert collect(exchange, PostgresOutput(storage), wanted, bulk, of=one).complete
            assert_whole(storage, exchange, wanted, one)
            found.append(storage.reader.candles(one, wanted))
    assert same_values(*found).all()


def test_csv_files_take_files_too(exchange: Simulator, tmp_path: Path) -> None:
    wanted = Span(JANUARY.start, JANUARY.start + 8 * DAY_MS)
    store = CsvStore(tmp_path)
    report = collect(exchange, CsvOutput(store), wanted, Bulk.AUTO)
    assert report.complete
    assert (report.from_files, report.result.inserted) == (8 * 1_440, 8 * 1_440)
    assert store.spans(series()) == Spans([wanted])


# files that disappoint

WANTED = Span(JANUARY.start, JANUARY.start + 7 * DAY_MS)


@pytest.mark.parametrize("kind", sorted(FILE_FAULTS))
def test_a_bad_file_fails_nothing(exchange: Simulator, storage: PostgreSQLStorage, kind: FaultKind) -> None:
    """What it lacks comes from the pages; only a row that broke a rule is set aside."""
    exchange.arm(kind, endpoint=FILES)
    report = collect(exchange, PostgresOutput(storage), WANTED, Bulk.AUTO)
    assert report.error is None
    assert report.complete
    assert_whole(storage, exchange, WANTED)
    assert report.result.revised == 0


@pytest.mark.parametrize(
    "kind", [FaultKind.DROP, FaultKind.HTTP_500, FaultKind.HTML_502, FaultKind.RATE_LIMIT, FaultKind.TRUNCATED_JSON]
)
@pytest.mark.parametrize("endpoint", [FILE_LISTING, FILES])
def test_files_that_cannot_be_had_at_all_fail_nothing(
    exchange: Simulator, storage: PostgreSQLStorage, kind: FaultKind, endpoint: str
) -> None:
    exchange.arm(kind, endpoint=endpoint, count=1_000)
    report = collect(exchange, PostgresOutput(storage), WANTED, Bulk.AUTO)
    assert (report.complete, report.from_files, report.error) == (True, 0, None)
    assert_whole(storage, exchange, WANTED)


def test_a_file_that_is_being_made_again_is_passed_over(exchange: Simulator, storage: PostgreSQLStorage) -> None:
    exchange.arm(FaultKind.BACKFILL)
    assert collect(exchange, PostgresOutput(storage), WANTED, Bulk.AUTO).complete
    assert files(exchange) == []


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATED_ZIP, FaultKind.UNCONFIRMED_ROWS, FaultKind.CONFLICTING_ROWS])
def test_only_leaves_missing_what_its_files_do_not_prove(
    exchange: Simulator, storage: PostgreSQLStorage, kind: FaultKind
) -> None:
    wanted = Span(JANUARY.start, JANUARY.start + DAY_MS)
    exchange.arm(kind, endpoint=FILES)
    report = collect(exchange, PostgresOutput(storage), wanted, Bulk.ONLY)
    assert not report.complete
    assert report.error is None
    assert report.from_files == 1_440 - report.missing.length // 60_000
    assert_honest(storage, exchange, wanted)
    assert collect(exchange, PostgresOutput(storage), wanted, Bulk.ONLY).complete, "the next run has a good file"
    assert_whole(storage, exchange, wanted)


def test_files_older_than_one_that_is_mostly_unfinished_are_not_asked_for(
    exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    """The exchange's old files are unfinished throughout: they would be downloaded for nothing."""
    wanted = Span(JANUARY.start - 3 * 31 * DAY_MS, JANUARY.end)
    exchange.arm(FaultKind.UNCONFIRMED_ROWS, endpoint=FILES, count=100)
    report = collect(exchange, PostgresOutput(storage), wanted, Bulk.ONLY)
    assert set(files(exchange)) <= {"2024-01.zip", "2023-12.zip"}, "two are under way at once, and no days after them"
    assert 0 < report.from_files <= 2 * (31 * 480)
    assert_honest(storage, exchange, wanted)


# stopping


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_stop_in_the_middle_loses_nothing_and_the_next_run_goes_on(
    exchange: Simulator, storage: PostgreSQLStorage, *, oldest_first: bool
) -> None:
    wanted = Span(FEBRUARY.start, FEBRUARY.start + 12 * DAY_MS)
    output = PostgresOutput(storage)
    output.oldest_first = oldest_first
    stopped = collect(exchange, output, wanted, Bulk.AUTO, watcher=Watcher(pages=3))
    assert not stopped.complete
    assert_honest(storage, exchange, wanted)
    assert storage.ledger.covered(series())
    begun = len(files(exchange))
    resumed = collect(exchange, output, wanted, Bulk.AUTO)
    assert resumed.complete
    assert_whole(storage, exchange, wanted)
    assert begun < 8
    assert len(files(exchange)) <= 12 + 2, "only what was under way at the stop is fetched twice"


def test_progress_counts_a_file_as_a_page(exchange: Simulator, storage: PostgreSQLStorage) -> None:
    watcher = Watcher()
    report = collect(exchange, PostgresOutput(storage), WANTED, Bulk.AUTO, watcher=watcher)
    assert (report.pages, watcher.seen[-1]) == (1, (1, 1))
    assert all(done <= planned for done, planned in watcher.seen)
