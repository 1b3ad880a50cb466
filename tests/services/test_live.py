"""Whatever a stream does wrong, every candle that closed is stored, once, and readers get them in order."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg
import pytest

from candles import START
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, MINUTE_MS, timeframe
from chandlery.errors import DataNotFoundError
from chandlery.exchange.okx.rest import OkxSource
from chandlery.services.live.iterate import LiveCandle, live
from chandlery.services.live.recorder import LiveWanted, Recorder
from chandlery.services.outputs import PostgresOutput
from chandlery.settings import Settings, load_settings
from chandlery.simulator import Simulator, StreamFaultKind
from chandlery.simulator.bars import utc_bar
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from recording import GRACE_S, SYMBOLS, assert_stored, known_until, reach, record, series, simulator


@pytest.mark.parametrize("kind", [None, *StreamFaultKind], ids=lambda kind: kind or "no fault")
def test_no_fault_of_the_stream_leaves_a_gap(storage: PostgreSQLStorage, kind: StreamFaultKind | None) -> None:
    end = START + 4 * MINUTE_MS
    with simulator().run_in_thread() as exchange:
        if kind is not None:
            exchange.arm_stream(kind, count=2)
        recorder = asyncio.run(record(exchange, storage, known_until(end), since=START))
        for symbol in SYMBOLS:
            assert_stored(exchange, storage, series(symbol), Span(START, end))
    assert not recorder.progress.result.revised
    assert not recorder.progress.result.rejected


def test_coarser_candles_close_beside_the_finer_ones(storage: PostgreSQLStorage) -> None:
    end = START + 5 * MINUTE_MS
    with simulator().run_in_thread() as exchange:
        asyncio.run(record(exchange, storage, known_until(end), timeframes="1m,5m", since=START))
        for symbol in SYMBOLS:
            assert_stored(exchange, storage, series(symbol, "5m"), Span(START, end))


@pytest.mark.parametrize(
    "hole",
    [
        pytest.param(Span(START - 2 * HOUR_MS, START - HOUR_MS), id="killed while it ran"),
        pytest.param(Span(START - 3 * DAY_MS, START - MINUTE_MS), id="killed while it healed an outage of three days"),
    ],
)
def test_holes_that_a_killed_stream_left_are_healed_at_the_start(storage: PostgreSQLStorage, hole: Span) -> None:
    end = START + MINUTE_MS
    past = Span(hole.start - HOUR_MS, START)
    with simulator().run_in_thread() as exchange:
        for symbol in SYMBOLS:
            rows = exchange.market.newest(symbol, utc_bar(timeframe("1m")), past, 2**31)
            left = rows.take((rows.open_time < hole.start) | (rows.open_time >= hole.end))
            save(storage, symbol, left.columns())

        asyncio.run(record(exchange, storage, known_until(end)))

        for symbol in SYMBOLS:
            assert_stored(exchange, storage, series(symbol), Span(past.start, end))


def save(storage: PostgreSQLStorage, symbol: str, columns: dict[str, Any]) -> None:
    batch = CandleBatch.of(series(symbol), columns)
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])


def test_a_symbol_that_is_not_listed_is_an_error_with_near_ones(storage: PostgreSQLStorage) -> None:
    async def run(exchange: Simulator) -> None:
        async with OkxSource(reach(exchange)) as source:
            recorder = Recorder(source, lambda _: pytest.fail("no stream"), PostgresOutput(storage), grace_s=GRACE_S)
            await recorder.run(LiveWanted(symbols=["BTC-USDR"], timeframes=[timeframe("1m")]))

    with simulator().run_in_thread() as exchange, pytest.raises(DataNotFoundError, match="BTC-USDR") as error:
        asyncio.run(run(exchange))
    assert "BTC-USDT" in error.value.hint


def settings_of(exchange: Simulator) -> Settings:
    overrides = {"data_collection.base_url": exchange.base_url, "data_collection.stream_grace_s": GRACE_S}
    return load_settings(None, environ={}, overrides=overrides)


async def read(exchange: Simulator, count: int, *, storage: PostgreSQLStorage | None = None) -> list[LiveCandle]:
    """The first ``count`` candles of two symbols."""
    seen: list[LiveCandle] = []
    async with asyncio.timeout(30):
        candles = live(SYMBOLS[:2], "1m", storage=storage, settings=settings_of(exchange))
        try:
            async for candle in candles:
                seen.append(candle)
                if storage is not None:
                    newest = storage.get_latest_timestamp(candle.symbol, "1m")
                    assert newest is not None
                    assert newest >= candle.timestamp
                if len(seen) == count:
                    break
        finally:
            await candles.aclose()
    return seen


@pytest.mark.parametrize("stored", [False, True], ids=["not stored", "stored"])
def test_readers_get_each_candle_once_in_order_and_after_its_commit(storage: PostgreSQLStorage, stored: bool) -> None:
    """The stream doubles one, and never sends another, which is read by REST while later ones wait for it."""
    with simulator().run_in_thread() as exchange:
        exchange.arm_stream(StreamFaultKind.DOUBLED_CONFIRM, inst_id="BTC-USDT")
        exchange.arm_stream(StreamFaultKind.MISSING_CONFIRM, inst_id="ETH-USDT")
        seen = asyncio.run(read(exchange, 8, storage=storage if stored else None))
        for symbol in SYMBOLS[:2]:
            of_symbol = [candle for candle in seen if candle.symbol == symbol]
            opens = [round(candle.timestamp.timestamp() * 1000) for candle in of_symbol]
            market = exchange.market.newest(symbol, utc_bar(timeframe("1m")), Span(opens[0], opens[-1] + 1), 99)
            assert opens == market.open_time.tolist()
            assert [candle.close for candle in of_symbol] == market.close.tolist()
            assert [candle.quote_volume for candle in of_symbol] == market.quote_volume.tolist()


def slow_statement(storage: PostgreSQLStorage) -> None:
    storage.database.transact(lambda connection: connection.execute("SELECT pg_sleep(3)"))


async def somebody_waits(blocker: psycopg.Connection) -> None:
    """Until somebody waits for a lock of ``blocker``."""
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'chandlery.coverage'::regclass AND NOT granted"
    async with asyncio.timeout(30):
        while blocker.execute(waiting).fetchone() == (0,):  # noqa: ASYNC110 - the server tells nobody of it
            await asyncio.sleep(0.05)


def test_leaving_neither_cuts_what_others_do_on_the_same_storage_nor_waits_for_a_store_that_is_stuck(
    storage: PostgreSQLStorage,
) -> None:
    async def run(exchange: Simulator) -> float:
        candles = live(SYMBOLS[:1], "1m", storage=storage, settings=settings_of(exchange))
        await anext(candles)
        with psycopg.connect(storage.database.conninfo) as blocker:
            blocker.execute("LOCK TABLE chandlery.coverage IN EXCLUSIVE MODE")
            await somebody_waits(blocker)
            others = asyncio.create_task(asyncio.to_thread(slow_statement, storage))
            await asyncio.sleep(0.2)
            began = time.monotonic()
            await candles.aclose()
            took_s = time.monotonic() - began
            await others
        return took_s

    with simulator().run_in_thread() as exchange:
        assert asyncio.run(run(exchange)) < 4.0  # the database itself would give up after five
