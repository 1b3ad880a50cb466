"""A day that closes for a whole market is stored in several transactions, and nothing of it is lost between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self

import pytest

from candles import START, candles
from chandlery.domain.instrument import Instrument, Kind, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import MINUTE_MS, TIMEFRAMES, UtcMs
from chandlery.errors import ConnectionError
from chandlery.exchange.source import Page
from chandlery.exchange.stream import Pushed, StreamEvent
from chandlery.services.live.recorder import LiveWanted, Recorder
from chandlery.services.live.waiting import MOST_TOGETHER
from chandlery.storage.writer import Delivery, SaveResult

MINUTE = TIMEFRAMES["1m"]
SYMBOLS = [f"COIN{number:04d}-USDT" for number in range(1_200)]
BAR = Span(START, START + MINUTE_MS)
A_LONG_GRACE_S = 3_600.0


class Exchange:
    """Lists the symbols, and has one candle of each; its clock stands just after that closed."""

    exchange = "okx"
    files: Any = None

    async def now(self, *, fresh: bool = False) -> UtcMs:
        return BAR.end

    async def instruments(self) -> Sequence[Instrument]:
        return [
            Instrument(exchange="okx", symbol=symbol, kind=Kind.SPOT, base=symbol[:-5], quote="USDT")
            for symbol in SYMBOLS
        ]

    async def history_start(self, series: Series, guesses: Sequence[Span] = ()) -> UtcMs | None:
        raise NotImplementedError

    async def reaches_back_to(self, series: Series, time: UtcMs) -> bool:
        raise NotImplementedError

    def pages(self, series: Series, missing: Spans) -> Sequence[Span]:
        return list(missing)

    async def page(self, instrument: Instrument, series: Series, asked: Span) -> Page:
        return Page(asked=asked, rows=candles(series, 1), answered=Spans([asked]), raw=str)


class Closing:
    """A stream on which the candles of all series close in one moment, and then nothing more comes."""

    def __init__(self, wanted: Sequence[tuple[Instrument, Series]], *, silent: bool = False) -> None:
        self._events: list[StreamEvent] = [] if silent else [_closed(series) for _, series in wanted]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def batch(self) -> Sequence[StreamEvent]:
        if not self._events:
            await asyncio.Event().wait()
        events, self._events = self._events, []
        return events

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        raise NotImplementedError


def _closed(series: Series) -> Pushed:
    return Pushed(series=series, rows=candles(series, 1), confirmed=True, raw=str, received_s=0.0)


class Store:
    """Keeps spans in memory; the transaction of the number ``fails`` fails, as on a server that went away."""

    def __init__(self, *, fails: int | None = None) -> None:
        self.transactions: list[int] = []
        self.known: dict[Series, Spans] = {}
        self._fails = fails

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        pass

    def covered(self, series: Series) -> Spans:
        return self.known.get(series, Spans())

    def save_all(self, deliveries: Sequence[Delivery]) -> SaveResult:
        self.transactions.append(len(deliveries))
        if len(self.transactions) == self._fails:
            raise ConnectionError("lost PostgreSQL.", transient=True, kind="connection")
        for one in deliveries:
            assert not self.covered(one.batch.series), "stored twice"
            self.known[one.batch.series] = one.covered
        return SaveResult(inserted=sum(len(one.batch) for one in deliveries))

    def give_up(self) -> None:
        pass

    def take_heart(self) -> None:
        pass

    def all_stored(self) -> bool:
        return [self.covered(Series("okx", symbol, MINUTE)) for symbol in SYMBOLS] == [Spans([BAR])] * len(SYMBOLS)


def record(
    store: Store, stop_when: Callable[[], bool], *, silent: bool = False, grace_s: float = A_LONG_GRACE_S
) -> None:
    """Record until the condition holds after a commit."""

    async def run() -> None:
        recorder = Recorder(Exchange(), lambda wanted: Closing(wanted, silent=silent), store, grace_s=grace_s)
        recorder.tell(lambda _: recorder.stop() if stop_when() else None)
        async with asyncio.timeout(30):
            await recorder.run(LiveWanted(symbols=SYMBOLS, timeframes=[MINUTE], since=START))

    asyncio.run(run())


def test_a_market_that_closes_at_once_is_stored_by_some_hundred_series_a_transaction() -> None:
    store = Store()
    record(store, store.all_stored)
    assert store.transactions == [MOST_TOGETHER, MOST_TOGETHER, len(SYMBOLS) - 2 * MOST_TOGETHER]


def test_who_stops_it_between_two_transactions_loses_nothing() -> None:
    store = Store()
    record(store, lambda: True)
    assert store.all_stored()


def test_a_transaction_that_fails_takes_no_other_with_it_and_is_healed() -> None:
    store = Store(fails=2)
    with pytest.raises(ConnectionError):
        record(store, store.all_stored)
    assert len(store.known) == MOST_TOGETHER

    record(store, store.all_stored, silent=True, grace_s=0.0)
    assert store.all_stored()
