"""The exchange that the commands meet: what it was asked, and whether what is stored is what it has."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from chandlery.domain.candle import CandleRows, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import timeframe
from chandlery.exchange.okx.wire import bar
from chandlery.simulator import Simulator
from chandlery.simulator.bars import utc_bar
from chandlery.storage.postgres import PostgreSQLStorage

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIDNIGHT = 1_709_251_200_000
"""2024-03-01 UTC."""
NOW = MIDNIGHT + 30_000


def series(symbol: str, interval: str = "1m") -> Series:
    return Series("okx-simulated", symbol, timeframe(interval))


def days(first: int, last: int = 0) -> Span:
    """From ``first`` days before 2024-03-01 to ``last`` days before it: ``days(2, 1)`` is 2024-02-28."""
    return Span(MIDNIGHT - first * DAY, MIDNIGHT - last * DAY)


def asked(simulator: Simulator, of: Series) -> list[Span]:
    """The spans of the pages that were asked for, in order; questions for a beginning are none."""
    return [
        Span(int(request.before) + 1, int(request.after))
        for request in simulator.journal.requests
        if request.before and (request.inst_id, request.bar) == (of.symbol, bar(of.timeframe))
    ]


def pages_served(simulator: Simulator) -> int:
    return sum(1 for request in simulator.journal.requests if request.before and request.served)


def assert_complete(storage: PostgreSQLStorage, simulator: Simulator, of: Series, span: Span) -> None:
    """Every candle of the market in ``span`` is stored, to the last bit, none besides, and the ledger says so."""
    stored, market = storage.reader.candles(of, span), market_candles(simulator, of, span)
    assert np.array_equal(stored.open_time, market.open_time)
    assert same_values(stored, market).all()
    assert Spans([span]) - storage.ledger.covered(of) == Spans()


def market_candles(simulator: Simulator, of: Series, span: Span) -> CandleRows:
    return simulator.market.newest(of.symbol, utc_bar(of.timeframe), span, 2**31)


def wait_until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Look every few milliseconds; it fails the test if it does not become true."""
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {within_s} s"
        time.sleep(0.01)
