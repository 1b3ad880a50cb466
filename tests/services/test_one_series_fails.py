"""What is wrong with the stored candles of one series is the failure of that series, and stops no other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from candles import START, candles, series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, timeframe
from chandlery.errors import ArchiveUnavailable, DamagedDataError, MisplacedRowError
from chandlery.exchange.okx import OkxSettings, OkxSource
from chandlery.services.archive import Archiver
from chandlery.services.collect import Collector, Follower, Round, Wanted
from chandlery.services.outputs import PostgresOutput
from chandlery.services.retention import Keeper, policy_of
from chandlery.services.seal import Sealer
from chandlery.simulator import FixedClock, SeededMarket, Simulator
from chandlery.storage.delivery import Delivery
from chandlery.storage.postgres import PostgreSQLStorage

T = TypeVar("T")
NOVEMBER = Span(START + 305 * DAY_MS, START + 335 * DAY_MS)
LATER = START + 366 * DAY_MS
HALF_HOURS = series(interval="30m", exchange="okx-simulated")
WANTED = Wanted(
    symbols=["BTC-USDT", "ETH-USDT"],
    timeframes=[timeframe("1h")],
    since=NOVEMBER.start,
    until=NOVEMBER.end,
    roll_up_from=HALF_HOURS.timeframe,
)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with Simulator(SeededMarket(1, WANTED.symbols), clock=FixedClock(LATER)).run_in_thread() as simulator:
        yield simulator


def damage_the_segment(storage: PostgreSQLStorage, _: Path) -> None:
    """A bit of the sealed month flips, of which there are no rows."""
    for entry in storage.ledger.entries():
        Sealer(storage).drop_rows(entry)
    flip = "UPDATE chandlery.sealed SET data = set_bit(data, 8000, 1 - get_bit(data, 8000))"
    storage.database.transact(lambda c: c.execute(flip))


def lose_the_archive(storage: PostgreSQLStorage, folder: Path) -> None:
    """The month is in the archive alone, and its disk is not mounted."""
    for entry in storage.ledger.entries():
        Archiver(storage, str(folder / "archive")).archive(entry, before=LATER)
    keeper = Keeper(storage, policy_of({}, {"30m": 1}, None, None), LATER)
    keeper.run(keeper.plan())
    (folder / "archive").rename(folder / "elsewhere")


HARMS = {
    "damaged": (
        damage_the_segment,
        DamagedDataError,
        "are damaged",
        "chandlery seal BTC-USDT --timeframe 30m --verify",
    ),
    "archive away": (lose_the_archive, ArchiveUnavailable, "is not there", "Look whether the disk is mounted"),
}


@pytest.fixture(params=HARMS)
def harm(request: pytest.FixtureRequest, storage: PostgreSQLStorage, tmp_path: Path) -> str:
    """Half hours of BTC-USDT, sealed, of which hours can be made, if they can be read."""
    batch = candles(HALF_HOURS, 31 * 48, start=NOVEMBER.start)
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])
    for entry in storage.ledger.entries():
        assert Sealer(storage).seal(entry, before=LATER).spans == 1
    HARMS[request.param][0](storage, tmp_path)
    return str(request.param)


def with_collector(
    exchange: Simulator, storage: PostgreSQLStorage, act: Callable[[Callable[[], Collector]], Awaitable[T]]
) -> T:
    async def run() -> T:
        async with OkxSource(OkxSettings(base_url=exchange.base_url)) as source:
            return await act(lambda: Collector(source, PostgresOutput(storage)))

    return asyncio.run(run())


def last_errors(storage: PostgreSQLStorage) -> dict[str, str]:
    entries = [entry for entry in storage.ledger.entries() if entry.last_error]
    return {str(entry.series): str(entry.last_error) for entry in entries}


def test_what_cannot_be_read_of_one_series_stops_no_other(
    exchange: Simulator, storage: PostgreSQLStorage, harm: str
) -> None:
    failed, other = with_collector(exchange, storage, lambda make: make().run(WANTED))
    _, kind, told, next_step = HARMS[harm]
    assert isinstance(failed.error, kind)
    assert not failed.complete
    assert other.complete
    assert other.result.inserted == 720
    remembered = last_errors(storage)
    assert remembered.keys() == {"BTC-USDT 1h"}
    assert told in remembered["BTC-USDT 1h"]
    assert next_step in remembered["BTC-USDT 1h"]


def test_whoever_follows_goes_on_from_the_first_round_on(
    exchange: Simulator, storage: PostgreSQLStorage, harm: str
) -> None:
    rounds: list[Round] = []

    async def follow(make: Callable[[], Collector]) -> None:
        async def wait(_: float) -> None:
            if len(rounds) == 2:
                follower.stop()

        follower = Follower(lambda: contextlib.nullcontext(make()), 60.0, rounds.append, wait=wait)
        await follower.run(WANTED)

    with_collector(exchange, storage, follow)
    assert [(one.error, len(one.problems), one.went_well) for one in rounds] == [(None, 1, False)] * 2
    assert all(one.reports[1].complete for one in rounds)


@pytest.mark.parametrize("time", ["2024-11-08 16:00:00+00:00", "2024-11-08 00:00:00.000100+00:00"])
def test_a_row_written_by_hand_that_is_no_candle_is_named_and_stops_no_other_series(
    exchange: Simulator, storage: PostgreSQLStorage, time: str
) -> None:
    """No constraint refuses it."""
    days = replace(HALF_HOURS, timeframe=timeframe("1d"))
    first = candles(days, 5, start=NOVEMBER.start)
    storage.writer.write([Delivery(batch=first, covered=first.runs())])
    with psycopg.connect(storage.database.conninfo) as by_hand:
        statement = "INSERT INTO chandlery.candle SELECT %s, 2, 2, 2, 2, 2, 2, id, '1d' FROM chandlery.instrument"
        by_hand.execute(statement, [time])
    wanted = replace(WANTED, timeframes=[days.timeframe], roll_up_from=None)
    failed, other = with_collector(exchange, storage, lambda make: make().run(wanted))
    assert isinstance(failed.error, MisplacedRowError)
    assert failed.missing.length == 25 * DAY_MS
    assert other.complete
    remembered = last_errors(storage)
    assert remembered.keys() == {"BTC-USDT 1d"}
    assert f"the row of BTC-USDT 1d at {time} is no candle" in remembered["BTC-USDT 1d"]
    assert "chandlery check BTC-USDT --timeframe 1d" in remembered["BTC-USDT 1d"]
