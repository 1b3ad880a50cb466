"""A database that is away while candles are pushed: nothing is lost, and memory does not grow."""

from __future__ import annotations

import asyncio
import math

from candles import START
from chandlery.domain.span import Span
from chandlery.domain.timeframe import MINUTE_MS
from chandlery.services.live.recorder import Recorder
from chandlery.storage.postgres import PostgreSQLStorage
from faults.proxy import Proxy
from faults.world import World
from recording import SYMBOLS, assert_stored, known_until, record, series, simulator


def test_candles_that_close_while_the_database_is_away_are_stored_when_it_is_back(world: World, proxy: Proxy) -> None:
    """There is room for one candle that waits: the others are dropped, and healed."""
    end = START + 6 * MINUTE_MS

    def interfering(recorder: Recorder) -> bool:
        minute = (exchange.clock.now() - START) // MINUTE_MS
        if minute == 2:
            proxy.refuse()
        elif minute >= 4:
            proxy.recover()
        return known_until(end)(recorder)

    with simulator().run_in_thread() as exchange:
        with PostgreSQLStorage(world.conninfo) as through_proxy:
            through_proxy.database.persistence.patience_s = math.inf
            recorder = asyncio.run(record(exchange, through_proxy, interfering, since=START, most_waiting=1))
        assert recorder.progress.unstored
        with PostgreSQLStorage(world.direct) as storage:
            for symbol in SYMBOLS:
                assert_stored(exchange, storage, series(symbol), Span(START, end))
