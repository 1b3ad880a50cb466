"""The beginning of a history is asked of the exchange; that of other timeframes only says where to look."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, MINUTE_MS, timeframe
from chandlery.exchange.okx import DOCUMENTED_LIMITS, OkxSettings, OkxSource
from chandlery.exchange.okx.wire import bar
from chandlery.exchange.pacing import RateLimit
from chandlery.services.collect import Collector, SeriesReport, Wanted
from chandlery.services.outputs import CsvOutput, Output, PostgresOutput
from chandlery.simulator import FaultKind, FixedClock, SeededMarket, Simulator
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.postgres import PostgreSQLStorage

MARCH = 1_709_251_200_000
"""2024-03-01 UTC."""
BEGAN = MARCH - 39 * DAY_MS - 10 * HOUR_MS - 33 * MINUTE_MS
LIMITS = dict.fromkeys(DOCUMENTED_LIMITS, RateLimit(requests=20_000, window_s=1.0))


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    market = SeededMarket(5)
    younger = {name: replace(one, history_start=BEGAN) for name, one in market.listings.items()}
    market.listings = younger
    with Simulator(market, clock=FixedClock(MARCH + 30_000)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture(params=["database", "files"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Output:
    if request.param == "files":
        return CsvOutput(CsvStore(tmp_path))
    storage: PostgreSQLStorage = request.getfixturevalue("storage")
    return PostgresOutput(storage)


def series(interval: str, symbol: str = "BTC-USDT") -> Series:
    return Series("okx-simulated", symbol, timeframe(interval))


def begins(interval: str) -> int:
    return timeframe(interval).floor(BEGAN)


def reports_of(
    exchange: Simulator, output: Output, intervals: Sequence[str], *symbols: str, concurrency: int = 4
) -> list[SeriesReport]:
    async def run() -> list[SeriesReport]:
        async with OkxSource(OkxSettings(base_url=exchange.base_url, limits=LIMITS)) as source:
            frames = [timeframe(name) for name in intervals]
            wanted = Wanted(symbols=symbols or ["BTC-USDT"], timeframes=frames)
            return await Collector(source, output, concurrency=concurrency).run(wanted)

    return asyncio.run(run())


def collect(
    exchange: Simulator, output: Output, intervals: Sequence[str], *symbols: str, concurrency: int = 4
) -> Counter[str]:
    """Collect all there is, and count the questions for a beginning, which have one cursor or none, by timeframe."""
    exchange.journal.clear()
    assert all(report.complete for report in reports_of(exchange, output, intervals, *symbols, concurrency=concurrency))
    names = {bar(timeframe(name)): name for name in intervals}
    return Counter(names[one.bar] for one in exchange.journal.requests if one.bar and not one.before)


def test_of_one_instrument_only_the_first_timeframe_is_searched_for_from_1970_on(
    exchange: Simulator, output: Output
) -> None:
    """All others of the same run look where that begins, and prove it with a few questions."""
    intervals = ["5m", "15m", "1h", "4h", "1d", "1w", "1M"]
    questions = collect(exchange, output, intervals, concurrency=1)
    assert all(output.beginning(series(name)) == begins(name) for name in intervals)
    assert questions.pop("5m") > 20
    assert max(questions.values()) <= 6


def test_timeframes_under_way_at_the_same_time_wait_for_one_another(exchange: Simulator, output: Output) -> None:
    """Whichever is first, what it finds helps the others."""
    intervals = ["5m", "15m", "30m", "1h"]
    questions = collect(exchange, output, intervals)
    assert all(output.beginning(series(name)) == timeframe(name).floor(BEGAN) for name in intervals)
    assert questions.total() <= 28 + 3 * (5 + 4)


def test_a_coarser_bar_says_in_which_time_to_look(exchange: Simulator, output: Output) -> None:
    collect(exchange, output, ["1d"])
    assert collect(exchange, output, ["5m"])["5m"] <= 5 + 9, "288 bars in a day"
    assert output.beginning(series("5m")) == begins("5m")


@pytest.mark.parametrize("off", [-400 * DAY_MS, 3 * DAY_MS])
def test_what_is_remembered_of_another_timeframe_is_no_proof(exchange: Simulator, output: Output, off: int) -> None:
    """Days may begin months before minutes, and did at the real exchange."""
    output.remember_beginning(series("1m"), BEGAN + off)
    collect(exchange, output, ["1h", "1d"])
    assert [output.beginning(series(name)) for name in ("1h", "1d")] == [begins("1h"), begins("1d")]


def test_what_is_known_of_one_instrument_says_nothing_of_others(exchange: Simulator, output: Output) -> None:
    questions = collect(exchange, output, ["4h"], "BTC-USDT", "ETH-USDT")
    assert questions["4h"] > 2 * 16


def test_a_history_that_answers_nothing_for_a_while_is_not_cut_for_ever(exchange: Simulator, output: Output) -> None:
    """The recent candles still answer. What they reach is no beginning: nothing is remembered, all is tried again."""
    exchange.arm(FaultKind.EMPTY_PAGE, endpoint="history-candles", count=2)
    (report,) = reports_of(exchange, output, ["5m"])
    assert report.error is not None
    assert report.worth_repeating
    assert output.beginning(series("5m")) is None
    collect(exchange, output, ["5m"])
    assert output.beginning(series("5m")) == begins("5m")
