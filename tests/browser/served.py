"""A store that the pages show, and the server that shows it, in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from candles import candles, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import HOUR_MS
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from chandlery.web.server import ServeOptions, serving

HOURS = 1_000
GAP = slice(700, 720)
"""Which hours of ``ETH-USDT 1h`` were never collected."""


def save(storage: PostgreSQLStorage, batch: CandleBatch, covered: Spans | None = None) -> None:
    storage.writer.write([Delivery(batch=batch, covered=batch.runs() if covered is None else covered)])


def fill(storage: PostgreSQLStorage) -> None:
    """Two symbols, 1000 hours each; one with a gap, and minutes of the other."""
    storage.require_schema()
    save(storage, candles(series("BTC-USDT", "1h"), HOURS))
    save(storage, candles(series("BTC-USDT", "1m"), 3_000))
    holed = candles(series("ETH-USDT", "1h"), HOURS, seed=1)
    kept = np.ones(HOURS, dtype=bool)
    kept[GAP] = False
    save(storage, holed.take(kept))


def gap_start(batch_start: int) -> int:
    return batch_start + GAP.start * HOUR_MS


@contextmanager
def served(storage: PostgreSQLStorage, options: ServeOptions | None = None) -> Iterator[str]:
    """The page's address, as long as the block runs."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    told: dict[str, str] = {}
    stop = asyncio.Event()

    async def run() -> None:
        async with serving(storage, options or ServeOptions()) as told["address"]:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(20)
    try:
        yield told["address"]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
