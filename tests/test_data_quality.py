"""The check of stored candles on both stores: what is wrong is found with its span, and what is good raises no alarm.

The tests at the end look at real candles, which are not part of the project: CHANDLERY_REAL_CANDLES names their
folder, else it is ``../shared/data`` beside the repository. Where there is none they are skipped and say so.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest

import chandlery
from candles import START, candles, changed, series
from chandlery.domain.candle import COLUMNS, CandleBatch, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.quality import PIECE, Rule, Severity
from chandlery.domain.rollup import roll_up
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import timeframe
from chandlery.errors import DataNotFoundError, DataValidationError
from chandlery.exchange.okx import Endpoint, OkxSettings, OkxSource
from chandlery.exchange.pacing import RateLimit
from chandlery.services.check import CsvShelf, PostgresShelf, Report, Scope, Shelf, check, repair, sampled
from chandlery.services.check.tables import check_table, file_shelf
from chandlery.services.outputs import CsvOutput, Output, PostgresOutput
from chandlery.simulator import FixedClock, SeededMarket, Simulator
from chandlery.simulator.bars import utc_bar
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from handed_in import frame
from real_candles import FOLDER, needs

MINUTE = 60_000
DAY = 1_440
BARS = 4 * DAY
NOW = START + BARS * MINUTE
BTC, ETH, SOL = (series(f"{base}-USDT") for base in ("BTC", "ETH", "SOL"))


class Store(Protocol):
    """A store under test: candles are put into it, a check looks at it, a repair writes to it."""

    shelf: Shelf
    output: Output

    def put(self, batch: CandleBatch) -> None: ...


class InPostgres:
    def __init__(self, storage: PostgreSQLStorage) -> None:
        self.storage, self.shelf, self.output = storage, PostgresShelf(storage), PostgresOutput(storage)

    def put(self, batch: CandleBatch, covered: Spans | None = None) -> None:
        self.storage.writer.write([Delivery(batch=batch, covered=batch.runs() if covered is None else covered)])


class InFiles:
    def __init__(self, folder: Path) -> None:
        self.files = CsvStore(folder)
        self.shelf, self.output = CsvShelf(self.files), CsvOutput(self.files)

    def put(self, batch: CandleBatch) -> None:
        self.files.save(batch)


@pytest.fixture
def files(tmp_path: Path) -> InFiles:
    return InFiles(tmp_path / "klines")


@pytest.fixture
def database(storage: PostgreSQLStorage) -> InPostgres:
    storage.require_schema()
    return InPostgres(storage)


@pytest.fixture(params=["database", "files"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


def bars(first: int, count: int = 1) -> Span:
    """The minutes from number ``first`` after the start."""
    return Span(START + first * MINUTE, START + (first + count) * MINUTE)


def without(batch: CandleBatch, *where: slice) -> CandleBatch:
    kept = np.ones(len(batch), dtype=np.bool_)
    for rows in where:
        kept[rows] = False
    return batch.take(kept)


def quiet(batch: CandleBatch, where: slice) -> CandleBatch:
    """Flat, without volume, at the price before: what the exchange writes while nothing trades."""
    columns = {name: column.copy() for name, column in batch.columns().items()}
    for name in COLUMNS[1:]:
        columns[name][where] = 0 if "volume" in name else batch.close[where.start - 1]
    return CandleBatch.of(batch.series, columns)


def looked(store: Store, now: int = NOW, **scope: object) -> Report:
    return check(store.shelf, Scope(**scope), lambda: now)  # type: ignore[arg-type]


def told(report: Report) -> list[tuple[Rule, Span, int]]:
    return [(found.rule, found.span, found.count) for found in report.findings]


@pytest.mark.parametrize("seed", range(3))
def test_good_candles_raise_no_alarm(store: Store, seed: int) -> None:
    """Several instruments, several timeframes that follow from one another."""
    for number, of in enumerate((BTC, ETH)):
        fine = candles(of, BARS, seed=10 * seed + number)
        store.put(fine)
        for interval in ("15m", "1d"):
            store.put(roll_up(fine, timeframe(interval), fine.runs())[0])
    report = looked(store)
    assert report.findings == ()
    assert report.worst is None
    assert [each.coverage for each in report.series] == [1.0] * 6
    assert sum(each.candles for each in report.series) == 2 * (BARS + BARS // 15 + 4)


def test_holes_are_gaps_with_their_spans(store: Store) -> None:
    store.put(without(candles(BTC, BARS), slice(100, 107), slice(5_000, 5_001)))
    report = looked(store)
    assert told(report) == [(Rule.GAP_UNCOVERED, bars(100, 7), 7), (Rule.GAP_UNCOVERED, bars(5_000), 1)]
    assert report.worst is Severity.ERROR
    assert report.series[0].coverage == (BARS - 8) / BARS


def test_what_was_asked_for_is_wanted(store: Store) -> None:
    store.put(candles(BTC, BARS))
    early = looked(store, since=START - 5 * MINUTE, until=START + 100 * MINUTE)
    assert told(early) == [(Rule.GAP_UNCOVERED, bars(-5, 5), 5)]
    assert early.series[0].wanted == bars(-5, 105)
    assert told(looked(store, until=NOW + 3 * MINUTE, now=NOW + DAY * MINUTE)) == [
        (Rule.GAP_UNCOVERED, bars(BARS, 3), 3)
    ]
    assert told(looked(store, since=NOW + MINUTE, now=NOW + 30 * MINUTE)) == [(Rule.STALE, bars(BARS + 1, 29), 29)]


def test_only_what_was_named_is_looked_at(store: Store) -> None:
    for of in (BTC, ETH, series("BTC-USDT", "1h")):
        store.put(candles(of, 48))
    report = looked(store, symbols=["BTC-USDT"], timeframes=[timeframe("1h")])
    assert [each.series for each in report.series] == [series("BTC-USDT", "1h")]
    with pytest.raises(DataNotFoundError, match="no candles of DOGE-USDT"):
        looked(store, symbols=["DOGE-USDT"])
    with pytest.raises(DataNotFoundError, match="no candles in 1d"):
        looked(store, timeframes=[timeframe("1d")])


def test_quiet_at_once_is_an_outage_and_quiet_alone_a_quiet_run(store: Store) -> None:
    store.put(quiet(candles(BTC, BARS, seed=1), slice(2_000, 2_090)))
    store.put(quiet(candles(ETH, BARS, seed=2), slice(2_003, 2_090)))
    store.put(quiet(candles(SOL, BARS, seed=3), slice(3_000, 3_020)))
    report = looked(store)
    assert told(report) == [(Rule.OUTAGE, bars(2_003, 87), 2), (Rule.QUIET_RUN, bars(3_000, 20), 20)]
    assert report.findings[0].series == (BTC, ETH)
    assert told(looked(store, symbols=["BTC-USDT"])) == [(Rule.QUIET_RUN, bars(2_000, 90), 90)]


def test_timeframes_that_contradict_one_another_are_found(store: Store) -> None:
    fine = candles(BTC, BARS)
    store.put(fine)
    store.put(changed(roll_up(fine, timeframe("15m"), fine.runs())[0], slice(20, 22)))
    [found] = looked(store).findings
    assert (found.rule, found.span, found.count) == (Rule.TIMEFRAME_MISMATCH, bars(300, 30), 2)
    assert found.series == (series(interval="15m"), BTC)
    assert found.severity is Severity.WARNING


def test_pieces_make_no_difference(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years are read a piece at a time: what goes from one piece into the next is found as one."""
    fine = quiet(without(candles(BTC, BARS), slice(980, 1_030)), slice(1_990, 2_030))
    store.put(fine)
    coarse = roll_up(fine, timeframe("15m"), fine.runs())[0]
    store.put(changed(coarse, slice(2_000 // 15 - 4, 2_000 // 15 + 2)))
    whole = looked(store)
    assert {found.rule for found in whole.findings} >= {
        Rule.GAP_UNCOVERED,
        Rule.QUIET_RUN,
        Rule.TIMEFRAME_MISMATCH,
    }
    for module in ("run", "shelves"):
        monkeypatch.setattr(f"chandlery.services.check.{module}.PIECE", 500)
    assert max(map(len, store.shelf.rows(BTC, None, None))) == 500
    assert looked(store) == whole


def test_a_piece_bounds_what_is_in_memory() -> None:
    assert PIECE * 7 * 8 < 4_000_000, "bytes of a piece"


def test_the_ledger_tells_deleted_rows_from_what_nobody_asked_for(database: InPostgres) -> None:
    good = candles(BTC, BARS)
    database.put(without(good, slice(50, 60), slice(300, 400)), Spans([bars(0, 300), bars(400, BARS - 400)]))
    assert told(looked(database)) == [
        (Rule.GAP_UNCOVERED, bars(300, 100), 100),
        (Rule.GAP_MISSING_ROWS, bars(50, 10), 10),
    ]


def test_a_row_that_nobody_answers_for_is_not_known(database: InPostgres) -> None:
    """As for whoever collects: only the ledger says what is known."""
    database.put(candles(BTC, BARS), Spans([bars(0, 200), bars(210, BARS - 210)]))
    report = looked(database)
    assert told(report) == [(Rule.GAP_UNCOVERED, bars(200, 10), 10)]
    assert report.series[0].candles == BARS - 10


def test_history_begins_where_it_was_proved_to_begin(store: Store) -> None:
    store.put(candles(BTC, 100))
    store.output.remember_beginning(BTC, START - 10 * MINUTE)
    assert told(looked(store, now=START + 100 * MINUTE)) == [(Rule.GAP_UNCOVERED, bars(-10, 10), 10)]
    assert looked(store, now=START + 100 * MINUTE, since=0).series[0].wanted == bars(-10, 110)


def test_rows_written_by_hand_are_looked_at_too(database: InPostgres) -> None:
    """The constraints of the table let them pass: a time off the grid, and one that has not come."""
    database.put(candles(BTC, 200))
    copy = """INSERT INTO chandlery.candle
              SELECT %s, open, high, low, close, base_volume, quote_volume, instrument_id, timeframe
                FROM chandlery.candle LIMIT 1"""
    for time in map(to_datetime, (START + 250 * MINUTE + 7_000, START + 400 * MINUTE)):
        database.storage.database.transact(lambda connection, at=time: connection.execute(copy, [at]))
    assert told(looked(database, now=START + 300 * MINUTE)) == [
        (Rule.FUTURE, bars(400), 1),
        (Rule.MISALIGNED, bars(250), 1),
        (Rule.STALE, bars(200, 100), 100),
    ]


def test_what_the_database_remembers_is_told(database: InPostgres) -> None:
    good = candles(BTC, 200)
    database.put(good)
    database.put(changed(good, slice(20, 22)).take(slice(15, 30)))
    database.storage.save_ohlcv_data(frame(1, start=START + 50 * MINUTE, open=-1.0), "BTC-USDT", "1m")
    report = looked(database, now=START + 200 * MINUTE)
    assert told(report) == [(Rule.REJECTED, bars(50), 1), (Rule.REVISION, bars(20, 2), 2)]
    assert told(looked(database, since=START + 100 * MINUTE, now=START + 200 * MINUTE)) == []


def edited(store: InFiles, edit: Callable[[list[str]], list[str]]) -> Report:
    """What is found in a file of 200 minutes after somebody edited its lines; the first is the header."""
    store.put(candles(BTC, 200))
    path = store.files.path(BTC)
    path.write_text("".join(edit(path.read_text().splitlines(keepends=True))))
    return looked(store, now=START + 200 * MINUTE)


def _with(line: int, field: int, text: str) -> Callable[[list[str]], list[str]]:
    def edit(lines: list[str]) -> list[str]:
        fields = lines[line].rstrip("\n").split(",")
        fields[field] = text
        return [*lines[:line], ",".join(fields) + "\n", *lines[line + 1 :]]

    return edit


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(lambda lines: [*lines[:50], *lines[49:]], [(Rule.DUPLICATE, bars(48), 1)], id="a line twice"),
        pytest.param(
            lambda lines: [*lines[:50], lines[51], lines[50], *lines[52:]],
            [(Rule.UNSORTED, bars(49), 1)],
            id="two lines exchanged",
        ),
        pytest.param(
            lambda lines: [lines[0], *lines[:0:-1]], [(Rule.UNSORTED, bars(0, 199), 199)], id="the newest line first"
        ),
        pytest.param(
            _with(61, 0, "2024-01-01T01:00:07Z"),
            [(Rule.GAP_UNCOVERED, bars(60), 1), (Rule.MISALIGNED, bars(60), 1)],
            id="a time off the grid",
        ),
        pytest.param(_with(31, 2, "1.0"), [(Rule.BROKEN_OHLC, bars(30), 1)], id="a high below the low"),
        pytest.param(_with(31, 4, ""), [(Rule.BROKEN_OHLC, bars(30), 1)], id="no close"),
        pytest.param(_with(31, 4, "inf"), [(Rule.BROKEN_OHLC, bars(30), 1)], id="an infinite close"),
        pytest.param(_with(31, 5, "-1"), [(Rule.BROKEN_OHLC, bars(30), 1)], id="a negative volume"),
        pytest.param(
            _with(31, 4, "1_0"),
            [(Rule.GAP_UNCOVERED, bars(30), 1), (Rule.UNREADABLE, bars(0, 200), 1)],
            id="no number",
        ),
        pytest.param(
            _with(31, 4, "1,0"),
            [(Rule.GAP_UNCOVERED, bars(30), 1), (Rule.UNREADABLE, bars(0, 200), 1)],
            id="a value too many",
        ),
        pytest.param(lambda lines: [*lines, "2024-01-01T03:20:00Z,9"], [], id="a line that was being written"),
    ],
)
def test_damaged_files_are_looked_at_too(
    files: InFiles, edit: Callable[[list[str]], list[str]], expected: list[tuple[Rule, Span, int]]
) -> None:
    """Files that the store itself would refuse: each damage is found with its span."""
    assert told(edited(files, edit)) == expected


def test_doubled_lines_on_both_sides_of_a_cut_are_duplicates(files: InFiles) -> None:
    """Every line but the first is there twice, so that a piece would end between two rows of one bar."""
    count = PIECE // 2 + 1_000
    fine = candles(BTC, count)
    files.put(fine)
    files.put(roll_up(fine, timeframe("15m"), fine.runs())[0])
    header, first, *lines = files.files.path(BTC).read_text().splitlines(keepends=True)
    files.files.path(BTC).write_text("".join([header, first, *(line * 2 for line in lines)]))
    report = looked(files, now=START + count * MINUTE)
    assert told(report) == [(Rule.DUPLICATE, bars(1, count - 1), count - 1)]
    assert max(map(len, files.shelf.rows(BTC, None, None))) == PIECE + 1, "a piece grows by the rows of one bar"


MARKET_NOW = START + 400 * MINUTE
FAST = dict.fromkeys(Endpoint, RateLimit(requests=2_000, window_s=1.0))


@pytest.fixture
def exchange() -> Simulator:
    with Simulator(SeededMarket(3), clock=FixedClock(MARKET_NOW)).run_in_thread() as simulator:
        yield simulator


def of_market(exchange: Simulator, interval: str = "1m") -> CandleBatch:
    """The first 300 minutes from the start, as the exchange has them."""
    of = series(interval=interval, exchange="okx-simulated")
    rows = exchange.market.newest(of.symbol, utc_bar(of.timeframe), bars(0, 300), 300)
    return CandleBatch.of(of, rows.columns())


def repaired(store: Store, exchange: Simulator, report: Report) -> object:
    async def run() -> object:
        async with OkxSource(OkxSettings(base_url=exchange.base_url, limits=FAST)) as source:
            return await repair(source, store.output, store.shelf, report.findings)

    return asyncio.run(run())


def test_a_repair_fetches_what_is_missing_and_what_is_suspicious(store: Store, exchange: Simulator) -> None:
    """Afterwards a check finds nothing, and what is stored is what the exchange has."""
    market = of_market(exchange)
    spoilt = changed(without(market, slice(50, 60), slice(200, 202)), slice(100, 101), by=1e6)
    store.put(spoilt)
    scope = {"now": MARKET_NOW, "until": START + 300 * MINUTE}
    before = looked(store, **scope)
    assert {found.rule for found in before.findings} == {Rule.GAP_UNCOVERED, Rule.PRICE_SPIKE}
    done = repaired(store, exchange, before)
    assert (done.result.inserted, done.result.revised) == (12, 1)
    assert {f.rule for f in looked(store, **scope).findings} <= {Rule.REVISION}
    [stored] = store.shelf.rows(market.series, None, None)
    assert same_values(stored, market).all()
    asked = sum(int(r.after) - int(r.before) - 1 for r in exchange.journal.requests if r.before)
    assert asked == 13 * MINUTE, "only what is doubtful is asked for"


def test_rows_that_were_deleted_inside_covered_spans_come_back(database: InPostgres, exchange: Simulator) -> None:
    market = of_market(exchange)
    database.put(without(market, slice(70, 90)), market.runs())
    before = looked(database, now=MARKET_NOW, until=START + 300 * MINUTE)
    assert told(before) == [(Rule.GAP_MISSING_ROWS, bars(70, 20), 20)]
    repaired(database, exchange, before)
    assert looked(database, now=MARKET_NOW, until=START + 300 * MINUTE).findings == ()


def test_derived_candles_that_differ_from_their_finer_ones_are_our_fault(
    database: InPostgres, exchange: Simulator
) -> None:
    """What was rolled up must be equal; a repair puts the exchange's own in its place."""
    market, hours = of_market(exchange), of_market(exchange, "1h")
    database.put(market)
    database.storage.writer.derive(hours.series, market.series.timeframe, bars(0, 300))
    scope = {"now": MARKET_NOW, "until": START + 300 * MINUTE}
    assert looked(database, **scope).findings == ()
    higher = "UPDATE chandlery.candle_1h SET high = high * 1.001 WHERE open_time = %s"
    database.storage.database.transact(lambda c: c.execute(higher, [to_datetime(START + 120 * MINUTE)]))
    before = looked(database, **scope)
    assert [(f.rule, f.severity, f.span) for f in before.findings] == [
        (Rule.TIMEFRAME_MISMATCH, Severity.ERROR, bars(120, 60))
    ]
    repaired(database, exchange, before)
    assert {f.rule for f in looked(database, **scope).findings} == {Rule.REVISION}


def test_what_cannot_be_repaired_is_told_with_the_reason(files: InFiles, exchange: Simulator) -> None:
    gone = series("GONE-USDT", exchange="okx-simulated")
    for of in (gone, BTC, series("ETH-USDT", exchange="okx-simulated")):
        files.put(without(candles(of, 200), slice(50, 60)))
    path = files.files.path(series("ETH-USDT", exchange="okx-simulated"))
    path.write_text(path.read_text() + "x\n")
    done = repaired(files, exchange, looked(files, now=MARKET_NOW))
    reasons = {of.symbol: why for of, why in done.left_out.items()}
    assert "does not list it" in reasons["GONE-USDT"]
    assert "its candles are okx's" in reasons["BTC-USDT"]
    assert "line 192" in reasons["ETH-USDT"]


def test_a_sample_is_compared_with_the_exchange(store: Store, exchange: Simulator) -> None:
    """With as many bars as there are, each that differs is found; volumes may differ in their last digits."""
    hours = of_market(exchange, "1h")
    nearly = CandleBatch.of(hours.series, {**hours.columns(), "base_volume": hours.base_volume * (1 + 1e-12)})
    store.put(changed(nearly, slice(3, 4)))
    report = looked(store, now=MARKET_NOW, until=START + 300 * MINUTE)

    async def run() -> object:
        async with OkxSource(OkxSettings(base_url=exchange.base_url, limits=FAST)) as source:
            return await sampled(source, store.shelf, report, 5)

    found, left_out = asyncio.run(run())
    assert [(each.rule, each.span) for each in found] == [(Rule.EXCHANGE_MISMATCH, bars(180, 60))]
    assert left_out == []


def test_frames_are_checked_without_any_store() -> None:
    good = candles(BTC, 200)
    given = candles_frame(good)
    assert chandlery.check_frame(given, "1m").findings == ()
    spoilt = chandlery.check_frame(given.drop(index=[7, 8]).iloc[::-1], "1m")
    assert told(spoilt) == [(Rule.GAP_UNCOVERED, bars(7, 2), 2), (Rule.UNSORTED, bars(0, 199), 197)]
    assert chandlery.check_frame(given.iloc[:0], "1m").findings == ()


def test_files_of_others_have_their_columns_named(tmp_path: Path) -> None:
    good = candles(BTC, 200)
    lines = [f"{t},{o},{c},{h},{low},{v}" for t, o, h, low, c, v, _ in zip(*good.columns().values(), strict=True)]
    path = tmp_path / "theirs.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines[:50] + lines[55:]).encode()))
    shelf = file_shelf(path, timeframe("1m"), ["ts", "open", "close", "high", "low", "volume"])
    assert told(check_table(shelf, Scope())) == [(Rule.GAP_UNCOVERED, bars(50, 5), 5)]
    with pytest.raises(DataValidationError, match="columns are missing"):
        file_shelf(path, timeframe("1m"))


DOGE_FILE, BITFINEX_FILE = "okx_DOGE-USDT-SWAP_5m_2022.parquet", "bitfinex_BTCUSD_1m_2015.csv.gz"
BTC_FILE = "okx_BTC-USDT-SWAP_1m_2026-01.parquet"
needs_real_candles = needs(DOGE_FILE, BITFINEX_FILE, BTC_FILE)
OUTAGE = Span(1_671_352_200_000, 1_671_389_400_000)
"""2022-12-18 08:30 to 18:50 UTC, in which the exchange published nothing but flat candles."""


def recorded(name: str, of: Series, *, factor: float = 1.0) -> CandleBatch:
    read = pa_parquet.read_table(FOLDER / name)
    columns = {column: read[column].to_numpy() * factor for column in COLUMNS[1:5]}
    volume = read["base_volume"].to_numpy()
    columns |= {"base_volume": volume, "quote_volume": np.full(len(volume), np.nan)}
    return CandleBatch.of(of, {"open_time": read["open_time_ms"].to_numpy(), **columns})


@needs_real_candles
def test_real_eight_months_have_no_gap_and_the_outage_as_a_quiet_run(store: Store) -> None:
    """One series alone: the ten hours of 2022-12-18 and the lesser halts, which are all in the file, and no alarm."""
    doge = recorded(DOGE_FILE, series("DOGE-USDT-SWAP", "5m"))
    store.put(doge)
    report = looked(store, now=int(doge.open_time[-1]) + 5 * MINUTE)
    assert report.series[0].coverage == 1.0
    assert {found.rule for found in report.findings} == {Rule.QUIET_RUN}
    assert (report.findings[0].span, report.findings[0].count) == (OUTAGE, 124)
    days = Counter(str(np.datetime64(found.span.start, "ms"))[:10] for found in report.findings)
    assert days.keys() >= {"2022-06-01", "2022-07-07", "2022-11-10", "2022-12-18"}
    assert sum(days.values()) == 10


@needs_real_candles
def test_the_real_outage_is_found_as_one_where_several_series_were_quiet(store: Store) -> None:
    """A second instrument with the same real candles at another price, and a third that kept trading."""
    doge = recorded(DOGE_FILE, series("DOGE-USDT-SWAP", "5m"))
    other = recorded(DOGE_FILE, series("SHIB-USDT-SWAP", "5m"), factor=1e-4)
    before = slice(0, int(np.searchsorted(doge.open_time, OUTAGE.start)) - 1_000)
    store.put(doge)
    store.put(without(other, before))
    lively = candles(series("BTC-USDT-SWAP", "5m"), 3_000, start=OUTAGE.start - 1_000 * 5 * MINUTE)
    store.put(lively)
    report = looked(store, until=OUTAGE.end + 600 * 5 * MINUTE, now=int(doge.open_time[-1]))
    [outage] = [found for found in report.findings if found.rule is Rule.OUTAGE]
    assert (outage.span, outage.count) == (OUTAGE, 2)
    assert OUTAGE not in [found.span for found in report.findings if found.rule is Rule.QUIET_RUN]


@needs_real_candles
def test_real_minutes_raise_no_alarm(store: Store) -> None:
    btc = recorded(BTC_FILE, series("BTC-USDT-SWAP"))
    store.put(btc)
    assert looked(store, now=int(btc.open_time[-1]) + MINUTE).findings == ()


@needs_real_candles
def test_every_hole_of_a_real_file_of_others_is_counted() -> None:
    """158,890 missing minutes: a month that its collector lost, and every minute that its exchange left out."""
    columns = ["ts", "open", "close", "high", "low", "volume"]
    report = check_table(file_shelf(FOLDER / BITFINEX_FILE, timeframe("1m"), columns), Scope())
    gaps = [found for found in report.findings if found.rule is Rule.GAP_UNCOVERED]
    assert (len(gaps), sum(found.count for found in gaps)) == (61_148, 158_890)
    assert sum(found.span.length for found in gaps) == 158_890 * MINUTE
    month = gaps[0].span
    assert month.length == 44_400 * MINUTE
    assert str(np.datetime64(month.start, "ms"))[:16] == "2015-05-01T04:00"
    assert report.series[0].candles == 366_710
    assert not {found.rule for found in report.findings} - {Rule.GAP_UNCOVERED, Rule.PRICE_SPIKE, Rule.PRICE_JUMP}
