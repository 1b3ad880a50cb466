"""What has served its term goes, and nothing else, however often the run is killed; the rest is the same to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from candles import candles, changed, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.errors import ConfigurationError
from chandlery.services.check.run import Scope, check
from chandlery.services.check.shelves import PostgresShelf
from chandlery.services.retention import Action, Keeper, Policy, RetentionReport, policy_of
from chandlery.services.seal import Sealer
from chandlery.settings import load_settings
from chandlery.storage.delivery import Delivery
from chandlery.storage.kept import partitions_there
from chandlery.storage.partitions import Partitions, table_name
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import identical

DAY = 86_400_000
MINUTE = 60_000
BEGIN, NOW = 1_609_459_200_000, 1_704_067_200_000 + 12 * 3_600_000
"""From 2021-01-01 to noon of 2024-01-01, UTC: three years."""
EVER = Span(0, 4_102_444_800_000)
BTC, ETH = series("BTC-USDT", "1m"), series("ETH-USDT", "1m")
HALF_HOURS, HOURS, DAYS = (series("BTC-USDT", bar) for bar in ("30m", "1h", "1d"))
AUGUST = Span(BEGIN + 212 * DAY, BEGIN + 243 * DAY)
TERMS: dict[str, Any] = {"rows": {"1m": 90, "30m": 365}, "segments": {"1m": 365, "30m": 3_650, "1h": 30}}


def seeded(of: Series, every: int, seed: int) -> tuple[CandleBatch, Spans]:
    """Three years in which every so many bars had a trade; the exchange was asked for all of them."""
    step = of.timeframe.step_ms
    assert step is not None
    bars = (NOW - BEGIN) // step
    batch = candles(of, bars // every, start=BEGIN, seed=seed)
    batch = CandleBatch.of(of, {**batch.columns(), "open_time": BEGIN + np.arange(bars // every) * every * step})
    return batch, Spans([Span(BEGIN, BEGIN + bars * step)])


@pytest.fixture(scope="module")
def market() -> list[tuple[CandleBatch, Spans]]:
    """Two symbols in minutes, of which one was never asked for a day in August 2021; and coarser ones."""
    made = [seeded(of, every, n) for n, (of, every) in enumerate([(BTC, 180), (ETH, 180), (HALF_HOURS, 6), (HOURS, 4)])]
    batch, covered = made[1]
    hole = Span(AUGUST.start, AUGUST.start + DAY)
    made[1] = (batch.take((batch.open_time < hole.start) | (batch.open_time >= hole.end)), covered - Spans([hole]))
    return [*made, seeded(DAYS, 1, 9)]


def fill(storage: PostgreSQLStorage, market: list[tuple[CandleBatch, Spans]]) -> None:
    for batch, covered in market:
        storage.writer.write([Delivery(batch=batch, covered=covered)])
    sealer = Sealer(storage)
    for entry in sealer.entries():
        sealer.seal(entry, before=NOW - 45 * DAY)


@pytest.fixture(scope="module")
def template(market: list[tuple[CandleBatch, Spans]]) -> Iterator[str]:
    """A database with all of it, to be cloned: filling one takes some seconds."""
    server, empty = os.environ["CHANDLERY_TEST_SERVER"], os.environ["CHANDLERY_TEST_TEMPLATE"]
    name = f"chandlery_three_years_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (name, empty))))
    with PostgreSQLStorage(make_conninfo(server, dbname=name)) as storage:
        fill(storage, market)
    yield name
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def new_three_years(
    template: str, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], str]:
    """Makes databases with three years in them."""
    monkeypatch.setenv("CHANDLERY_TEST_TEMPLATE", template)
    return new_database


@pytest.fixture
def three_years(new_three_years: Callable[[], str]) -> Iterator[PostgreSQLStorage]:
    with PostgreSQLStorage(new_three_years()) as storage:
        yield storage


OF_HOURS = policy_of({}, {"1h": 30}, None, None, lose=True)


def policy(place: Path | None = None, *, lose: bool = False) -> Policy:
    return policy_of(TERMS["rows"], TERMS["segments"], None, None if place is None else str(place), lose=lose)


def retain(storage: PostgreSQLStorage, chosen: Policy) -> RetentionReport:
    keeper = Keeper(storage, chosen, NOW)
    return keeper.run(keeper.plan())


def stored(storage: PostgreSQLStorage, of: Series) -> CandleBatch:
    return storage.reader.candles(of, EVER)


def state(storage: PostgreSQLStorage) -> dict[str, Any]:
    """Everything that retention may change, as it stands in the tables."""
    statements = {
        "rows": "SELECT instrument_id, timeframe, open_time, close FROM chandlery.candle ORDER BY 1, 2, 3",
        "sealed": "SELECT instrument_id, timeframe, starts_at, rows_kept, data IS NULL, archive_sha256"
        " FROM chandlery.sealed ORDER BY 1, 2, 3",
        "ledger": "SELECT instrument_id, timeframe, spans, retired FROM chandlery.coverage ORDER BY 1, 2",
        "partitions": "SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1",
    }
    return {
        name: storage.database.transact(lambda c, text=text: c.execute(text).fetchall())
        for name, text in statements.items()
    }


def rows_of(storage: PostgreSQLStorage, of: Series) -> np.ndarray[Any, Any]:
    """When the candles open that stand as rows."""
    statement = (
        "SELECT (extract(epoch FROM open_time) * 1000)::bigint FROM chandlery.candle JOIN chandlery.instrument"
        " ON id = instrument_id WHERE timeframe = %s AND symbol = %s ORDER BY 1"
    )
    found = storage.database.transact(lambda c: c.execute(statement, [of.timeframe.name, of.symbol]).fetchall())
    return np.array([time for (time,) in found])


def partitions(storage: PostgreSQLStorage, of: Series) -> list[str]:
    names = storage.database.transact(lambda c: partitions_there(c, of.timeframe))
    return sorted(name.removeprefix(f"{table_name(of.timeframe)}_") for name in names)


def test_after_three_years_every_candle_is_read_as_before_from_wherever_it_is(
    three_years: PostgreSQLStorage, market: list[tuple[CandleBatch, Spans]], tmp_path: Path
) -> None:
    report = retain(three_years, policy(tmp_path))
    for batch, _ in market:
        assert identical(stored(three_years, batch.series), batch)
    # minutes: 23 months of 2021 and 2022 are archived and gone from here, and so is ETH but for August 2021
    archived = [path.relative_to(tmp_path).parts[1:3] for path in tmp_path.rglob("*.parquet")]
    assert archived.count(("timeframe=1m", "symbol=BTC-USDT")) == 24
    assert archived.count(("timeframe=1m", "symbol=ETH-USDT")) == 23
    assert archived.count(("timeframe=1h", "symbol=BTC-USDT")) == 2
    assert (report.files, report.segments, report.lost, report.changed) == (49, 49, 0, 0)
    cut = 1_696_118_400_000  # 2023-10-01: what closed 90 days ago
    assert np.array_equal(rows_of(three_years, BTC), market[0][0].open_time[market[0][0].open_time >= cut])
    eth = rows_of(three_years, ETH)
    assert {time for time in eth.tolist() if time < cut} == {
        time for time in market[1][0].open_time.tolist() if AUGUST.start <= time < AUGUST.end
    }
    assert partitions(three_years, BTC) == ["2021_08", "2023_10", "2023_11", "2023_12", "2024_01"]
    assert partitions(three_years, HALF_HOURS) == ["2023", "2024"]
    assert report.partitions == 32 + 2
    # no term was set for days
    assert len(rows_of(three_years, DAYS)) == len(market[4][0])


def test_a_plan_changes_nothing_and_is_what_is_done_and_no_more(three_years: PostgreSQLStorage, tmp_path: Path) -> None:
    before = state(three_years)
    steps = Keeper(three_years, policy(tmp_path), NOW).plan()
    assert state(three_years) == before
    assert not list(tmp_path.iterdir())
    done = [step for step in steps if step.action is not Action.KEEP]
    report = retain(three_years, policy(tmp_path))
    assert report.rows == sum(step.rows for step in done)
    assert report.bytes == sum(step.segment_bytes for step in done)
    assert report.partitions == len({step.partition for step in done} - {None})
    before = state(three_years)
    keeper = Keeper(three_years, policy(tmp_path), NOW)
    [step] = keeper.plan()
    assert (step.series, step.unit, step.action) == (ETH, AUGUST, Action.KEEP)
    assert "not sealed" in step.why
    assert keeper.run([step]) == RetentionReport()
    assert state(three_years) == before


def test_without_a_copy_nothing_goes(three_years: PostgreSQLStorage) -> None:
    """No archive: rows may go, for segments hold the same, but no segment does."""
    report = retain(three_years, policy())
    assert (report.segments, report.lost) == (0, 0)
    steps = Keeper(three_years, policy(), NOW).plan()
    assert {step.action for step in steps} == {Action.KEEP}
    assert sum("not archived" in step.why for step in steps) == 24 + 23 + 2


def test_what_is_dropped_for_good_is_remembered_and_all_else_is_the_same(
    three_years: PostgreSQLStorage,
    market: list[tuple[CandleBatch, Spans]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = {entry.series: entry for entry in three_years.ledger.entries()}
    report = retain(three_years, policy(lose=True))
    assert report.lost == 24 + 24 + 2
    cut = 1_672_531_200_000  # 2023-01-01: what closed a year ago
    for batch, covered in market:
        left = batch if batch.series in (HALF_HOURS, DAYS) else batch.take(batch.open_time >= cut)
        assert identical(stored(three_years, batch.series), left)
        assert three_years.ledger.covered(batch.series) == covered, "nothing of it is fetched again"
    retired = {entry.series: entry.retired for entry in three_years.ledger.entries()}
    gone = Spans([Span(BEGIN, cut)])
    assert retired == {of: gone & before[of].spans if of in (BTC, ETH, HOURS) else Spans() for of in before}
    assert not caplog.records
    three_years.get_ohlcv_data("BTC-USDT", "1m", "2022-12-01", "2023-01-31")
    [record] = caplog.records
    assert record.getMessage() == (
        "Candles of BTC-USDT 1m from 2022-12-01 to 2023-01-01 are not here: retention dropped them."
    )


def test_a_check_misses_nothing_of_what_was_dropped_on_purpose(three_years: PostgreSQLStorage) -> None:
    def findings() -> list[tuple[Any, ...]]:
        report = check(
            PostgresShelf(three_years), Scope(symbols=("BTC-USDT",), timeframes=(HOURS.timeframe,)), lambda: NOW
        )
        return [(found.rule, found.count) for found in report.findings if found.span.start < 1_672_531_200_000]

    assert findings(), "three of four hours have no row"
    retain(three_years, OF_HOURS)
    assert findings() == []


def test_no_segment_goes_while_its_rows_are_to_stay(three_years: PostgreSQLStorage) -> None:
    """The term of all segments may be shorter than that of some rows; then the segments stay as long as those."""
    keeper = Keeper(three_years, policy_of({"30m": 10_000}, {}, 30, None, lose=True), NOW)
    before = stored(three_years, HALF_HOURS)
    keeper.run(keeper.plan())
    assert identical(stored(three_years, HALF_HOURS), before)


def test_a_finer_candle_that_changes_makes_nothing_unknown_that_was_dropped(storage: PostgreSQLStorage) -> None:
    """Else the next collection would bring back what had served its term."""
    minutes = candles(series("BTC-USDT", "30m"), 400 * 48, start=BEGIN)
    storage.writer.write([Delivery(batch=minutes, covered=minutes.runs())])
    year = Span(BEGIN, BEGIN + 400 * DAY)
    storage.writer.derive(HOURS, HALF_HOURS.timeframe, year)
    retain(storage, OF_HOURS)
    assert len(stored(storage, HOURS)) == 35 * 24
    storage.writer.write([Delivery(batch=changed(minutes, slice(7, 8)), covered=minutes.runs())])
    assert storage.ledger.covered(HOURS) == Spans([year])


def test_an_interval_of_which_all_was_dropped_is_not_available(storage: PostgreSQLStorage) -> None:
    """It is known still, so that nobody fetches it; but there is nothing to read."""
    for of in (HOURS, DAYS):
        batch = candles(of, 365 * DAY // (of.timeframe.step_ms or 1), start=BEGIN)
        storage.writer.write([Delivery(batch=batch, covered=batch.runs())])
    for entry in storage.ledger.entries():
        Sealer(storage).seal(entry, before=EVER.end)
    storage.database.transact(lambda c: c.execute("DROP TABLE chandlery.candle_1h_2020"))
    Partitions(storage.database).ensure(HOURS.timeframe, AUGUST)
    retain(storage, OF_HOURS)
    assert storage.get_available_intervals("BTC-USDT") == ["1d"]
    assert storage.get_latest_timestamp("BTC-USDT", "1h") is None


def test_dropped_candles_that_come_again_are_known_again(
    three_years: PostgreSQLStorage, market: list[tuple[CandleBatch, Spans]]
) -> None:
    retain(three_years, OF_HOURS)
    batch, covered = market[3]
    three_years.writer.write([Delivery(batch=batch, covered=covered)])
    assert identical(stored(three_years, HOURS), batch)
    [entry] = [entry for entry in three_years.ledger.entries() if entry.series == HOURS]
    assert entry.retired == Spans()


def test_a_partition_with_more_than_was_planned_stays(
    three_years: PostgreSQLStorage, market: list[tuple[CandleBatch, Spans]]
) -> None:
    """Somebody stores another series between the plan and the run."""
    keeper = Keeper(three_years, policy_of({"30m": 365}, {}, None, None), NOW)
    steps = keeper.plan()
    late = candles(series("SOL-USDT", "30m"), 10, start=BEGIN)
    three_years.writer.write([Delivery(batch=late, covered=late.runs())])
    keeper.run(steps)
    assert identical(stored(three_years, late.series), late)
    assert partitions(three_years, HALF_HOURS) == ["2021", "2023", "2024"]
    for batch, _ in market:
        assert identical(stored(three_years, batch.series), batch)


def test_an_empty_partition_whose_time_is_over_goes_too(three_years: PostgreSQLStorage) -> None:
    """A run that was killed between its last row and its partition leaves one."""
    chosen = policy_of({"30m": 365}, {}, None, None)
    retain(three_years, chosen)
    Partitions(three_years.database).ensure(HALF_HOURS.timeframe, AUGUST)
    assert partitions(three_years, HALF_HOURS) == ["2021", "2023", "2024"]
    assert retain(three_years, chosen) == RetentionReport()
    assert partitions(three_years, HALF_HOURS) == ["2023", "2024"]


KILLED = """
import os, signal, sys
from chandlery.services import archive
from chandlery.services.retention import Keeper, policy_of
from chandlery.services.retention import run
from chandlery.storage import archive_places, kept, sealed
from chandlery.storage.postgres import PostgreSQLStorage

conninfo, place, now, where, count = sys.argv[1:]
owner, name = {
    "partition": (run, "drop_partition"),
    "rows": (sealed.SealedSeries, "leave_to_segment"),
    "file": (archive_places, "put"),
    "register": (kept.KeptSeries, "register"),
    "segment": (kept.KeptSeries, "leave_to_archive"),
}[where]
done, left = getattr(owner, name), int(count)

def fatal(*arguments):
    global left
    left -= 1
    outcome = done(*arguments)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome

setattr(owner, name, fatal)
with PostgreSQLStorage(conninfo) as storage:
    keeper = Keeper(storage, policy_of({rows}, {segments}, None, place), int(now))
    keeper.run(keeper.plan())
""".replace("{rows}", repr(TERMS["rows"])).replace("{segments}", repr(TERMS["segments"]))


def test_killed_again_and_again_it_comes_to_the_same_end(
    three_years: PostgreSQLStorage,
    market: list[tuple[CandleBatch, Spans]],
    new_three_years: Callable[[], str],
    tmp_path: Path,
) -> None:
    """Each time inside of a transaction, or between a file and its registration."""
    for where, count in [("partition", 2), ("rows", 9), ("file", 2), ("register", 3), ("segment", 4)]:
        arguments = [three_years.database.conninfo, str(tmp_path / "killed"), str(NOW), where, str(count)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=environment, capture_output=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
        assert identical(stored(three_years, BTC), market[0][0]), "at every moment all is there"
    retain(three_years, policy(tmp_path / "killed"))
    with PostgreSQLStorage(new_three_years()) as undisturbed:
        retain(undisturbed, policy(tmp_path / "undisturbed"))
        assert state(three_years) == state(undisturbed)
    names = [
        sorted(path.relative_to(tmp_path / of) for path in (tmp_path / of).rglob("*.*"))
        for of in ("killed", "undisturbed")
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"ROWS": "1m=90d,7m=1d"}, "7m"),
        ({"ROWS": "1m=ninety"}, "days or weeks"),
        ({"ROWS": "1m=0d"}, "days or weeks"),
        ({"ROWS": "1m=91d", "SEGMENTS": "1m=12w"}, "longer than retention.segments"),
    ],
)
def test_terms_that_cannot_be_are_refused(variables: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load_settings(environ={f"CHANDLERY_RETENTION_{name}": value for name, value in variables.items()})


def test_terms_are_read_from_text_and_from_objects(tmp_path: Path) -> None:
    file = tmp_path / "workflow.json"
    file.write_text('{"retention": {"rows": {"1m": "90d"}, "segments": {"1m": "52w"}}}')
    settings = load_settings(file, {"CHANDLERY_RETENTION_ROWS": "1m=30d, 1M=9w"})
    assert settings.retention.rows == {"1m": 30, "1M": 63}
    assert settings.retention.segments == {"1m": 364}
