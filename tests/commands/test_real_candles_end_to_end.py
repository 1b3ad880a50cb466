"""Real candles from the exchange's side to the reader's: every value, no gap, none twice, and at the permitted rate.

Where there are no real candles, these tests are skipped and say so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow.parquet as pa_parquet

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import timeframe
from chandlery.exchange.okx import DOCUMENTED_LIMITS, Endpoint, OkxSettings, OkxSource
from chandlery.exchange.pacing import RateLimit
from chandlery.services.collect import Collector, SeriesReport, Wanted
from chandlery.services.outputs import PostgresOutput
from chandlery.simulator import NO_RATE_LIMITS, RateLimits, ReplayMarket, RunningClock, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from real_candles import FOLDER, needs

BTC = ("okx_BTC-USDT-SWAP_1m_2026-01.parquet", Series("okx-simulated", "BTC-USDT-SWAP", timeframe("1m")), 22_078)
DOGE = ("okx_DOGE-USDT-SWAP_5m_2022.parquet", Series("okx-simulated", "DOGE-USDT-SWAP", timeframe("5m")), 70_499)

pytestmark = needs(BTC[0], DOGE[0])

SHARE = 0.9
UNHURRIED = dict.fromkeys(Endpoint, RateLimit(requests=2_000, window_s=1.0))


def test_two_weeks_of_minutes_at_the_documented_limits(
    storage: PostgreSQLStorage, record_property: Callable[[str, object], None]
) -> None:
    """Every value arrives, no request is refused, and hardly a permitted request is left unused."""
    name, series, count = BTC
    with replay(name, RateLimits()) as simulator:
        settings = OkxSettings(base_url=simulator.base_url, share=SHARE)
        [report] = asyncio.run(collect(settings, storage, series))
    assert report.complete
    assert (report.result.inserted, report.result.stored) == (count, count)
    assert_equal_to_the_file(storage, name, series)
    requests = list(simulator.journal.requests)
    assert {request.code for request in requests} == {"0"}, "a request was refused"
    assert simulator.journal.served_twice() == []

    times_s = [request.at / 1000 for request in requests if request.endpoint == Endpoint.HISTORY_CANDLES]
    rate = (len(times_s) - 1) / (times_s[-1] - times_s[0])
    limit = DOCUMENTED_LIMITS[Endpoint.HISTORY_CANDLES]
    permitted = SHARE * limit.requests / limit.window_s
    record_property("share of the permitted rate", rate / permitted)
    assert rate >= 0.95 * permitted, f"{rate:.2f} requests/s of {permitted:.2f} permitted"


def test_eight_months_with_an_outage_of_the_exchange_in_them(storage: PostgreSQLStorage) -> None:
    """Through its outage of 2022-12-18 the exchange published flat candles: they are data, not a gap."""
    name, series, count = DOGE
    with replay(name, NO_RATE_LIMITS) as simulator:
        settings = OkxSettings(base_url=simulator.base_url, limits=UNHURRIED)
        [report] = asyncio.run(collect(settings, storage, series))
    assert report.complete
    assert report.result.inserted == count
    assert simulator.journal.served_twice() == []
    assert_equal_to_the_file(storage, name, series)


@contextlib.contextmanager
def replay(name: str, rate_limits: RateLimits) -> Iterator[Simulator]:
    """Serve a file from its end on, in real time, so that the journal's times can be measured."""
    market = ReplayMarket.from_files([FOLDER / name])
    assert market.ends_at is not None
    with Simulator(market, clock=RunningClock(market.ends_at), rate_limits=rate_limits).run_in_thread() as simulator:
        yield simulator


async def collect(settings: OkxSettings, storage: PostgreSQLStorage, series: Series) -> list[SeriesReport]:
    """The whole history, up to the file's end, in this process."""
    name = next(name for name, of, _ in (BTC, DOGE) if of == series)
    opens = pa_parquet.read_table(FOLDER / name)["open_time_ms"].to_numpy()
    span = Span(int(opens[0]), series.timeframe.close_of(int(opens[-1])))
    async with OkxSource(settings) as source:
        wanted = Wanted(symbols=[series.symbol], timeframes=[series.timeframe], since=span.start, until=span.end)
        return await Collector(source, PostgresOutput(storage)).run(wanted)


def assert_equal_to_the_file(storage: PostgreSQLStorage, name: str, series: Series) -> None:
    """Read through the door that people use."""
    recorded = pa_parquet.read_table(FOLDER / name)
    stored = storage.get_candles(series.symbol, series.timeframe.name)
    times = recorded["open_time_ms"].to_numpy()
    assert np.array_equal(stored.open_time, times)
    assert np.all(np.diff(stored.open_time) == series.timeframe.step_ms), "a gap, or a candle twice"
    for column in ("open", "high", "low", "close", "base_volume"):
        assert np.array_equal(getattr(stored, column), recorded[column].to_numpy()), column
    turnover = recorded["close"].to_numpy() * recorded["base_volume"].to_numpy()
    assert np.array_equal(stored.quote_volume, turnover), "the simulator's quote volume is close x base volume"
    span = Span(int(times[0]), series.timeframe.close_of(int(times[-1])))
    assert storage.ledger.covered(series) == Spans([span])
