"""Closed candles as an asynchronous iterator: each once, in order, those included that the stream did not deliver.

async for candle in chandlery.live("BTC-USDT", "1m"):
    print(candle.timestamp, candle.close)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series, canonical_symbol
from chandlery.domain.timeframe import timeframe
from chandlery.services.live.order import InOrder
from chandlery.services.live.recorder import LiveWanted, Recorder
from chandlery.services.live.store import Lent, LiveStore, NoStore, NothingKnown
from chandlery.storage.writer import Delivery

if TYPE_CHECKING:
    from chandlery.settings import Settings
    from chandlery.storage.postgres import PostgreSQLStorage


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCandle:
    """One closed candle. ``timestamp`` is its open time, aware, UTC; ``volume`` is in the base currency.

    ``quote_volume`` is NaN where the exchange did not tell it.
    """

    exchange: str
    symbol: str
    timeframe: str
    timestamp: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float


async def live(
    symbols: str | Sequence[str],
    timeframes: str | Sequence[str] = "1m",
    *,
    storage: PostgreSQLStorage | None = None,
    settings: Settings | None = None,
) -> AsyncGenerator[LiveCandle]:
    """Candles of the exchange as they close, from now on, for as long as somebody reads.

    For each series they come in order, each once and none left out: a candle that the stream lost is read by REST, and
    later ones wait for it. With ``storage`` every candle is committed before it is handed out. ``settings`` tell the
    exchange; by default they come from the configuration file and the environment.

    Raises DataValidationError for a timeframe, DataNotFoundError for a symbol that there is not, and an ExchangeError
    if the exchange cannot be reached at the start. Later it is waited for.
    """
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services import error_log
    from chandlery.services.opening import okx_settings, okx_streaming
    from chandlery.services.outputs import PostgresOutput
    from chandlery.settings import load_settings

    chosen = settings or load_settings()
    wanted = LiveWanted(
        symbols=[canonical_symbol(symbol) for symbol in _several(symbols)],
        timeframes=[timeframe(name) for name in _several(timeframes)],
    )
    if storage is not None:
        storage.require_schema()
    store: LiveStore = NoStore() if storage is None else NothingKnown(Lent(PostgresOutput(storage)))
    grace_s = chosen.data_collection.stream_grace_s
    async with OkxSource(okx_settings(chosen), on_event=error_log.exchange_event) as source:
        recorder = Recorder(source, okx_streaming(chosen), store, grace_s=grace_s)
        async with contextlib.aclosing(_candles_of(recorder, wanted)) as candles:
            async for candle in candles:
                yield candle


async def _candles_of(recorder: Recorder, wanted: LiveWanted) -> AsyncGenerator[LiveCandle]:
    arrived: asyncio.Queue[LiveCandle | None] = asyncio.Queue()
    turns: dict[Series, InOrder] = {}

    def hand_on(deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            series = delivery.batch.series
            turn = turns.setdefault(series, InOrder(recorder.progress.tails[series].begins_at))
            for batch in turn.let_through(delivery):
                for candle in _candles(batch):
                    arrived.put_nowait(candle)

    recorder.tell(hand_on)
    running = asyncio.create_task(recorder.run(wanted))
    running.add_done_callback(lambda _: arrived.put_nowait(None))
    try:
        while (candle := await arrived.get()) is not None:
            yield candle
        await running
    finally:
        recorder.stop()
        await asyncio.gather(running, return_exceptions=True)


def _candles(batch: CandleBatch) -> Iterator[LiveCandle]:
    """The rows of a batch, which are few: a stream brings one at a time."""
    series = batch.series
    names = ("open", "high", "low", "close", "volume", "quote_volume")
    for time, *values in zip(*(column.tolist() for column in batch.columns().values()), strict=True):
        yield LiveCandle(
            exchange=series.exchange,
            symbol=series.symbol,
            timeframe=series.timeframe.name,
            timestamp=datetime.fromtimestamp(time / 1000, UTC),
            **dict(zip(names, values, strict=True)),
        )


def _several(names: str | Sequence[str]) -> Sequence[str]:
    """One name, several with commas between them, or a sequence."""
    return names.replace(",", " ").split() if isinstance(names, str) else names
