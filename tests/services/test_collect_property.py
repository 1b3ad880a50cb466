"""Any sequence of collecting, being killed, overlapping, extending to both sides and repeating leaves exactly the
exchange's candles, and a ledger that never claims what is not there.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candles import START
from chandlery.domain.candle import CandleRows, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import HOUR_MS, TIMEFRAMES
from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.settings import DOCUMENTED_LIMITS, OkxSettings
from chandlery.exchange.pacing import RateLimit
from chandlery.services.collect import Collector, SeriesReport, Wanted
from chandlery.services.outputs import PostgresOutput
from chandlery.simulator import FixedClock, SeededMarket, Simulator
from chandlery.simulator.bars import utc_bar
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery, SaveResult

SYMBOL = "BTC-USDT"
END = START + 30 * HOUR_MS
"""The simulated present; collecting reaches up to 30 hours back, which is six pages."""


class Killed(BaseException):
    """What a kill looks like from inside: no handler of the product may catch it."""


class MortalOutput(PostgresOutput):
    """Dies at its ``n``-th save: before the transaction, inside it, or after its commit with the answer lost."""

    def __init__(self, storage: PostgreSQLStorage, at_save: int, when: str) -> None:
        super().__init__(storage)
        self._saves_left, self._when = at_save, when
        self._database = storage.database

    def save(self, delivery: Delivery) -> SaveResult:
        self._saves_left -= 1
        if self._saves_left > 0:
            return super().save(delivery)
        if self._when == "before":
            raise Killed
        if self._when == "inside":
            self._database.progressed = _die  # type: ignore[method-assign]
        super().save(delivery)
        raise Killed


def _die(_: object) -> None:
    raise Killed


@dataclasses.dataclass(frozen=True)
class Step:
    """One run of the collector: hours since START, and where it is killed, if at all."""

    since: int
    until: int
    killed_at: int | None
    when: str

    @property
    def span(self) -> Span:
        return Span(START + self.since * HOUR_MS, START + self.until * HOUR_MS)


steps = st.builds(
    lambda a, b, killed_at, when: Step(min(a, b), max(a, b) + 1, killed_at, when),
    st.integers(0, 29),
    st.integers(0, 29),
    st.none() | st.integers(1, 4),
    st.sampled_from(["before", "inside", "after"]),
)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with Simulator(SeededMarket(3, [SYMBOL]), clock=FixedClock(END + 5 * 60_000)).run_in_thread() as simulator:
        yield simulator


async def collect(exchange: Simulator, output: PostgresOutput, step: Step) -> list[SeriesReport]:
    fast = {endpoint: RateLimit(requests=100_000, window_s=2.0) for endpoint in DOCUMENTED_LIMITS}
    wanted = Wanted(symbols=[SYMBOL], timeframes=[TIMEFRAMES["1m"]], since=step.span.start, until=step.span.end)
    async with OkxSource(OkxSettings(base_url=exchange.base_url, limits=fast)) as source:
        return await Collector(source, output).run(wanted)


def truth(exchange: Simulator, series: Series, span: Span) -> CandleRows:
    return exchange.market.newest(SYMBOL, utc_bar(series.timeframe), span, 10**9)


def assert_honest(storage: PostgreSQLStorage, exchange: Simulator, series: Series) -> Spans:
    """What the ledger claims is there, and what is there is the exchange's, once; the claim is returned."""
    covered = storage.ledger.covered(series)
    rows = storage.reader.candles(series, Span(START - HOUR_MS, END + HOUR_MS))
    theirs = truth(exchange, series, Span(START - HOUR_MS, END + HOUR_MS))
    at = np.searchsorted(theirs.open_time, rows.open_time)
    assert np.array_equal(theirs.open_time[at], rows.open_time)
    assert same_values(rows, theirs.take(at)).all()
    claimed = np.array([time in covered for time in theirs.open_time.tolist()], dtype=bool)
    assert np.isin(theirs.open_time[claimed], rows.open_time).all()
    return covered


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(steps, min_size=1, max_size=5))
def test_any_history_of_runs_ends_in_the_truth(
    exchange: Simulator, new_database: Callable[..., str], plan: list[Step]
) -> None:
    series = Series("okx-simulated", SYMBOL, TIMEFRAMES["1m"])
    url = new_database()
    for step in plan:
        with PostgreSQLStorage(url) as storage:  # a new process has new connections and remembers nothing
            run_step(exchange, storage, step)
            assert_honest(storage, exchange, series)
    whole = Step(0, 30, None, "before")
    with PostgreSQLStorage(url) as storage:
        (report,) = asyncio.run(collect(exchange, PostgresOutput(storage), whole))
        assert report.complete
        assert assert_honest(storage, exchange, series).covers(whole.span)
        stored = storage.reader.candles(series, whole.span)
        assert len(stored) == len(truth(exchange, series, whole.span)) == 30 * 60
        exchange.journal.clear()
        asyncio.run(collect(exchange, PostgresOutput(storage), whole))
        assert not [r for r in exchange.journal.requests if "candles" in r.endpoint], "nothing was missing"


def run_step(exchange: Simulator, storage: PostgreSQLStorage, step: Step) -> None:
    output: Any = PostgresOutput(storage)
    if step.killed_at is not None:
        output = MortalOutput(storage, step.killed_at, step.when)
    try:
        (report,) = asyncio.run(collect(exchange, output, step))
    except Killed:
        return
    assert report.complete
    assert storage.ledger.covered(report.series).covers(step.span)
