"""An instrument that the exchange has taken off its list takes no other one along: those go on being stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import HOUR_MS, MINUTE_MS, TIMEFRAMES
from chandlery.errors import DataNotFoundError
from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.stream import OkxStream
from chandlery.services.collect import Collector, SeriesReport, Wanted
from chandlery.services.live.recorder import LiveWanted, Recorder
from chandlery.services.outputs import PostgresOutput
from chandlery.simulator import FixedClock, SeededMarket, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from recording import reach

FUTURE, SPOT = "BTC-USDT-240329", "BTC-USDT"
EXPIRY = 1_711_699_200_000
HOUR = TIMEFRAMES["1h"]


@pytest.fixture
def clock() -> FixedClock:
    """Two hours before the future expires."""
    return FixedClock(EXPIRY - 2 * HOUR_MS + MINUTE_MS)


@pytest.fixture
def exchange(clock: FixedClock) -> Iterator[Simulator]:
    with Simulator(SeededMarket(3), clock=clock).run_in_thread() as simulator:
        yield simulator


def series(symbol: str) -> Series:
    return Series("okx-simulated", symbol, HOUR)


def collect(exchange: Simulator, storage: PostgreSQLStorage, *symbols: str) -> list[SeriesReport]:
    async def run() -> Sequence[SeriesReport]:
        async with OkxSource(reach(exchange)) as source:
            wanted = Wanted(symbols=symbols, timeframes=[HOUR], since=EXPIRY - 4 * HOUR_MS)
            return await Collector(source, PostgresOutput(storage)).run(wanted)

    return list(asyncio.run(run()))


def test_the_others_are_collected_and_it_is_told(
    exchange: Simulator, clock: FixedClock, storage: PostgreSQLStorage
) -> None:
    assert all(report.complete for report in collect(exchange, storage, FUTURE, SPOT))
    clock.advance(5 * HOUR_MS)

    reports = {report.series: report for report in collect(exchange, storage, FUTURE, SPOT)}

    assert reports[series(SPOT)].complete
    assert storage.ledger.covered(series(SPOT)).hull == Span(EXPIRY - 4 * HOUR_MS, EXPIRY + 3 * HOUR_MS)
    gone = reports[series(FUTURE)]
    assert not gone.complete
    assert "okx-simulated does not list BTC-USDT-240329 any more." in str(gone.error)
    assert storage.ledger.covered(series(FUTURE)).hull == Span(EXPIRY - 4 * HOUR_MS, EXPIRY - 2 * HOUR_MS)


def test_alone_it_is_the_outcome(exchange: Simulator, clock: FixedClock, storage: PostgreSQLStorage) -> None:
    collect(exchange, storage, FUTURE)
    clock.advance(5 * HOUR_MS)
    (gone,) = collect(exchange, storage, FUTURE)
    assert isinstance(gone.error, DataNotFoundError)
    assert not gone.worth_repeating


def test_a_symbol_of_which_nothing_is_stored_is_a_slip_of_the_pen(
    exchange: Simulator, clock: FixedClock, storage: PostgreSQLStorage
) -> None:
    clock.advance(5 * HOUR_MS)
    with pytest.raises(DataNotFoundError, match=f"does not list {FUTURE}"):
        collect(exchange, storage, FUTURE, SPOT)


def pushed(recorder: Recorder) -> bool:
    return any(tail.pushed for tail in recorder.progress.tails.values())


def record(exchange: Simulator, storage: PostgreSQLStorage, *symbols: str) -> Recorder:
    async def run() -> Recorder:
        settings = reach(exchange)
        async with OkxSource(settings) as source:
            recorder = Recorder(
                source, lambda wanted: OkxStream(wanted, settings), PostgresOutput(storage), grace_s=1.0
            )
            running = asyncio.create_task(recorder.run(LiveWanted(symbols=symbols, timeframes=[HOUR])))
            async with asyncio.timeout(30):
                while not running.done() and not pushed(recorder):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.02)
            recorder.stop()
            await running
        return recorder

    return asyncio.run(run())


def test_the_others_are_streamed(exchange: Simulator, clock: FixedClock, storage: PostgreSQLStorage) -> None:
    collect(exchange, storage, FUTURE)
    clock.advance(5 * HOUR_MS)
    assert list(record(exchange, storage, FUTURE, SPOT).progress.tails) == [series(SPOT)]
    with pytest.raises(DataNotFoundError, match="any more"):
        record(exchange, storage, FUTURE)
