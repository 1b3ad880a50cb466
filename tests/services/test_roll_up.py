"""Rolling up through the collector: exact against pandas, aligned with UTC, and as cheap as it claims to be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pa_parquet
import pytest

from candles import START, candles, series
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import DAY_MS, timeframe
from chandlery.exchange.okx import DOCUMENTED_LIMITS, OkxSettings, OkxSource
from chandlery.exchange.pacing import RateLimit
from chandlery.services import roll_up
from chandlery.services.collect import Collector, SeriesReport, Wanted
from chandlery.services.outputs import PostgresOutput
from chandlery.services.roll_up import rolled_up
from chandlery.simulator import FixedClock, SeededMarket, Simulator
from chandlery.simulator.bars import BARS, Bar, utc_bar
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from real_candles import BTC_1M, absence

MARCH = 1_709_251_200_000
"""2024-03-01 UTC."""
PANDAS = {"5m": "5min", "15m": "15min", "1h": "1h", "4h": "4h", "1d": "1D"}
HOW = {"open": "first", "high": "max", "low": "min", "close": "last"}


def minutes_of(recording: Path) -> CandleBatch:
    """Real candles; their turnover is made up as price times volume, with more digits than a double holds."""
    table = pa_parquet.read_table(recording)
    columns = {name: table[name].to_numpy() for name in ("open", "high", "low", "close", "base_volume")}
    columns |= {"open_time": table["open_time_ms"].to_numpy()}
    return CandleBatch.of(
        series("BTC-USDT-SWAP"), columns | {"quote_volume": columns["close"] * columns["base_volume"]}
    )


def seeded_minutes() -> CandleBatch:
    """Ten days with holes in them, in which the exchange had nothing."""
    minutes = candles(series("BTC-USDT-SWAP"), 10 * 1440 + 77, start=START + 13 * 60_000)
    kept = np.random.default_rng(1).random(len(minutes)) > 0.01
    kept[[0, -1]] = True
    return minutes.take(kept)


@pytest.fixture(params=["real", "seeded"])
def minutes(request: pytest.FixtureRequest) -> CandleBatch:
    if request.param == "seeded":
        return seeded_minutes()
    if not BTC_1M.exists():
        pytest.skip(absence(BTC_1M.name))
    return minutes_of(BTC_1M)


@pytest.mark.parametrize("interval", PANDAS)
def test_what_is_stored_equals_what_pandas_resamples(
    storage: PostgreSQLStorage, minutes: CandleBatch, interval: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open, high, low and close to the last bit; volumes within one unit in the last place for each addition.

    In several steps, so that a cut between them is seen if it falls into a bar.
    """
    monkeypatch.setattr(roll_up, "_FINE_CANDLES", 3_000)
    assert minutes.span is not None
    storage.writer.write([Delivery(batch=minutes, covered=Spans([minutes.span]))])
    coarse = replace(minutes.series, timeframe=timeframe(interval))
    steps = list(rolled_up(storage, coarse, minutes.series.timeframe, minutes.span))
    assert len(steps) > 1

    stored = storage.reader.candles(coarse, minutes.span)
    frame = pd.DataFrame(dict(minutes.columns())).set_index(pd.to_datetime(minutes.open_time, unit="ms"))
    bars = frame.resample(PANDAS[interval])
    assert coarse.timeframe.aligned(minutes.span) is not None
    expected = pd.DataFrame(
        {
            **{name: getattr(bars[name], how)() for name, how in HOW.items()},
            **{name: bars[name].sum() for name in ("base_volume", "quote_volume")},
            "additions": bars["open"].count(),
        }
    )
    opens = expected.index.as_unit("ms").astype("int64").to_numpy()
    whole = (opens >= minutes.span.start) & (coarse.timeframe.close_of(opens) <= minutes.span.end)
    expected = expected[whole & (expected["additions"] > 0).to_numpy()]
    assert stored.open_time.tolist() == expected.index.as_unit("ms").astype("int64").tolist()
    for name in HOW:
        assert np.array_equal(getattr(stored, name), expected[name].to_numpy()), name
    for name in ("base_volume", "quote_volume"):
        ours, theirs = getattr(stored, name), expected[name].to_numpy()
        assert np.all(np.abs(ours - theirs) <= np.spacing(theirs) * expected["additions"].to_numpy()), name
    assert sum(step.inserted for step in steps) == len(stored)


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    with Simulator(SeededMarket(5), clock=FixedClock(MARCH + 30_000)).run_in_thread() as simulator:
        yield simulator


def collect(
    exchange: Simulator, storage: PostgreSQLStorage, intervals: Sequence[str], since: int, finer: str | None
) -> list[SeriesReport]:
    async def run() -> list[SeriesReport]:
        limits = dict.fromkeys(DOCUMENTED_LIMITS, RateLimit(requests=20_000, window_s=1.0))
        async with OkxSource(OkxSettings(base_url=exchange.base_url, limits=limits)) as source:
            wanted = Wanted(
                symbols=["BTC-USDT"],
                timeframes=[timeframe(name) for name in intervals],
                since=since,
                roll_up_from=timeframe(finer) if finer else None,
            )
            return await Collector(source, PostgresOutput(storage)).run(wanted)

    return asyncio.run(run())


@pytest.mark.parametrize("finer", [None, "1h"], ids=["fetched", "rolled up"])
def test_long_bars_open_by_utc_and_not_by_the_exchanges_own_clock(
    exchange: Simulator, storage: PostgreSQLStorage, finer: str | None
) -> None:
    """The exchange's own 6H, 12H, 1D, 1W and 1M open by UTC+8; ours never do, fetched or rolled up."""
    long = ("6h", "12h", "1d", "1w", "1M")
    reports = collect(exchange, storage, ["1h", *long], MARCH - 60 * DAY_MS, finer)
    assert all(report.complete for report in reports)
    assert all((report.derived > 0) == (finer is not None) for report in reports[1:])
    for name in long:
        one = Series("okx-simulated", "BTC-USDT", timeframe(name))
        [span] = [report.wanted for report in reports if report.series == one]
        assert span is not None
        stored = storage.reader.candles(one, span)
        by_utc, by_default = (
            exchange.market.newest("BTC-USDT", bar, span, 10_000) for bar in (utc_bar(one.timeframe), default_bar(name))
        )
        assert stored.open_time.tolist() == by_utc.open_time.tolist()
        assert same_values(stored, by_utc).all()
        opens = pd.to_datetime(stored.open_time, unit="ms", utc=True)
        assert set(opens.hour) <= set(range(0, 24, 6 if name == "6h" else 12)), "by UTC"
        assert not np.isin(stored.open_time, by_default.open_time).any(), "the exchange's own bars open at other hours"
        assert not np.isin(stored.base_volume, by_default.base_volume).any(), "and hold other trades"
        if name == "1w":
            assert set(opens.day_of_week) == {0}
        if name == "1M":
            assert set(opens.day) == {1}


def default_bar(name: str) -> Bar:
    """What the exchange gives to whoever asks for ``1D`` and does not say UTC."""
    return BARS[name.upper()]


def test_rolling_up_saves_its_share_of_the_requests(
    exchange: Simulator,
    new_database: Callable[[], str],
    record_property: Callable[[str, object], None],
) -> None:
    """What the exchange counted: every page of the coarser timeframes is saved, none of the minutes' is added."""
    asked, intervals = {}, ("1m", "5m", "15m", "1h", "4h", "1d")
    for finer in (None, "1m"):
        exchange.journal.clear()
        with contextlib.closing(PostgreSQLStorage(new_database())) as storage:
            reports = collect(exchange, storage, intervals, MARCH - 6 * DAY_MS, finer)
        assert all(report.complete for report in reports)
        asked[finer] = len(exchange.journal.requests)
        coarse = [request for request in exchange.journal.requests if request.bar and request.bar != "1m"]
        assert bool(coarse) == (finer is None)
    saved = 1 - asked["1m"] / asked[None]
    record_property("requests", asked)
    record_property("share saved", saved)
    assert saved >= 0.2
