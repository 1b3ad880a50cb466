"""OKX as a source of candles, over its public REST endpoints; no account or key is needed."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

import msgspec
import numpy as np

from chandlery.domain.instrument import Instrument, Kind, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import BadPage, ExchangeUnavailable
from chandlery.exchange.okx import paging, wire
from chandlery.exchange.okx.archive import OkxFiles
from chandlery.exchange.okx.clock import ExchangeClock
from chandlery.exchange.okx.probing import first_open_time
from chandlery.exchange.okx.session import Clock, OkxSession, OnEvent, Sleep
from chandlery.exchange.okx.settings import Endpoint, OkxSettings
from chandlery.exchange.okx.wire import CandleAnswer
from chandlery.exchange.shared_pace import TakeSlots, nobody_shares
from chandlery.exchange.source import CandleSource, Page


class OkxSource(CandleSource):
    """OKX, or a simulator that speaks its protocol. Use it with ``async with``.

    ``on_event`` hears of every request; ``take_slots`` is asked for a pace that other programs keep too. ``wall_clock``
    gives this machine's seconds since 1970 and serves only to tell how far it is off; ``clock``, ``sleep`` and ``rng``
    serve pacing and retries, see ``OkxSession``.
    """

    def __init__(
        self,
        settings: OkxSettings | None = None,
        *,
        on_event: OnEvent | None = None,
        take_slots: TakeSlots = nobody_shares,
        wall_clock: Clock = time.time,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.settings = settings or OkxSettings()
        self.exchange = self.settings.exchange
        session = partial(OkxSession, on_event=on_event, take_slots=take_slots, clock=clock, sleep=sleep, rng=rng)
        self._session = session(self.settings)
        # apart, with a circuit breaker of their own: files that cannot be had must not keep pages waiting
        hasty = replace(self.settings, attempts=self.settings.file_attempts)
        self._file_session = session(hasty)
        self.files = OkxFiles(hasty, self._file_session)
        self._exchange_clock = ExchangeClock(
            partial(self._session.get, Endpoint.TIME, {}, wire.server_time),
            wall_clock=wall_clock,
            steady_clock=clock,
            age_s=self.settings.clock_age_s,
        )

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        await self._file_session.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._file_session.__aexit__(*error)
        await self._session.__aexit__(*error)

    @property
    def requests(self) -> Counter[Endpoint]:
        """Attempts made so far, per endpoint."""
        return self._session.requests + self._file_session.requests

    @property
    def waits_s(self) -> Mapping[Endpoint, float]:
        """Seconds for which the line of each endpoint stood at its rate limit so far."""
        return {one: self._session.waits_s[one] + self._file_session.waits_s[one] for one in Endpoint}

    @property
    def clock_offset_s(self) -> float:
        """The exchange's clock minus this machine's, as last measured; 0 before the first measurement."""
        return self._exchange_clock.offset_s

    async def now(self, *, fresh: bool = False) -> UtcMs:
        """The exchange's clock, asked again once the last reading is ``clock_age_s`` old, or for a ``fresh`` one."""
        return await self._exchange_clock.now(fresh=fresh)

    async def instruments(self) -> Sequence[Instrument]:
        """All spot, swap and futures instruments; delisted ones are absent."""
        read = partial(wire.instruments, exchange=self.exchange)
        answers = [
            await self._session.get(Endpoint.INSTRUMENTS, {"instType": wire.TYPE_NAMES[kind]}, read) for kind in Kind
        ]
        return [instrument for answer in answers for instrument in answer]

    def pages(self, series: Series, missing: Spans) -> Iterable[Span]:
        """``missing`` cut into spans of at most one page each, newest first; they may be asked in any order."""
        return paging.pages(series.timeframe, missing, self.settings.page_size)

    async def history_start(self, series: Series, guesses: Sequence[Span] = ()) -> UtcMs | None:
        """The open time of the first candle of a series, exact to the bar; None if there is none.

        If it opens in one of ``guesses``, it takes few questions to prove.

        A listing of the last minutes is not in the history yet and is looked for among the recent candles. Where those
        begin as far back as they ever reach, the history is only not to be had: raises ExchangeUnavailable.
        """
        start = await self._first_open_time(Endpoint.HISTORY_CANDLES, series, guesses)
        if start is not None:
            return start
        start = await self._first_open_time(Endpoint.CANDLES, series, guesses)
        if start is not None and not await self._is_recent(series, start):
            raise ExchangeUnavailable(
                f"OKX has {series} candles for as long as its recent ones reach back, and says that it has no history."
            )
        return start

    async def _first_open_time(self, endpoint: Endpoint, series: Series, guesses: Sequence[Span]) -> UtcMs | None:
        return await first_open_time(series.timeframe, partial(self._newest_before, endpoint, series), guesses)

    async def _is_recent(self, series: Series, start: UtcMs) -> bool:
        return paging.is_recent(series.timeframe, Span(start, series.timeframe.close_of(start)), await self.now())

    async def reaches_back_to(self, series: Series, time: UtcMs) -> bool:
        """Whether the history has a candle that opens at ``time`` or before; one request."""
        return await self._newest_before(Endpoint.HISTORY_CANDLES, series, series.timeframe.close_of(time)) is not None

    async def _newest_before(self, endpoint: Endpoint, series: Series, time: UtcMs | None) -> UtcMs | None:
        bound = {} if time is None else {"after": time}

        def read(data: msgspec.Raw) -> UtcMs | None:
            opens = wire.open_times(data)
            if len(opens) > 1 or (time is not None and (opens >= time).any()):
                raise BadPage(f"OKX was asked for one {series} candle older than {time} and sent others.")
            return int(opens[0]) if len(opens) else None

        return await self._session.get(endpoint, _names(series) | bound | {"limit": 1}, read)

    async def page(self, instrument: Instrument, series: Series, asked: Span) -> Page:
        """The candles of one span from ``pages``. Bars without a row are asked for once more, of the history.

        Bars that are absent again have no candle and count as answered, but for those that closed a moment ago.
        From the first unconfirmed candle on nothing counts as answered and no row is kept.
        """
        timeframe, now = series.timeframe, await self.now()
        recent = paging.is_recent(timeframe, asked, now)
        first = await self._ask(instrument, series, asked, Endpoint.CANDLES if recent else Endpoint.HISTORY_CANDLES)
        settled_until = paging.settled_until(timeframe, now)
        answer = await self._completed(instrument, series, asked, first, settled_until)

        confirmed_until = _confirmed_until(answer, asked)
        kept = answer.take(answer.rows.open_time < confirmed_until)
        holes = paging.holes(timeframe, asked, first.rows.open_time)
        proved = Spans([asked]) - paging.since(settled_until, holes)
        return Page(asked=asked, rows=kept.rows, answered=paging.before(confirmed_until, proved), raw=kept.raw)

    async def _completed(
        self, instrument: Instrument, series: Series, asked: Span, answer: CandleAnswer, settled_until: UtcMs
    ) -> CandleAnswer:
        """``answer`` with the rows that it lacked. Whoever has just left out rows may do so again: so the absent bars
        are believed only when another answer has nothing to add.
        """
        while True:
            holes = paging.holes(series.timeframe, asked, answer.rows.open_time)
            doubtful = paging.before(min(settled_until, _confirmed_until(answer, asked)), holes).hull
            if doubtful is None:
                return answer
            added = _without(answer, await self._ask(instrument, series, doubtful, Endpoint.HISTORY_CANDLES))
            if not len(added.rows):
                return answer
            answer = answer.followed_by(added)

    async def _ask(self, instrument: Instrument, series: Series, asked: Span, endpoint: Endpoint) -> CandleAnswer:
        window = paging.Window.of(series.timeframe, asked)
        bounds = {"after": window.after, "before": window.before, "limit": window.page_size}

        def read(data: msgspec.Raw) -> CandleAnswer:
            answer = wire.candles(data, series, instrument.kind)
            paging.check(series.timeframe, asked, answer.rows.open_time)
            return answer

        return await self._session.get(endpoint, _names(series) | bounds, read)


def _names(series: Series) -> dict[str, str | int]:
    return {"instId": series.symbol, "bar": wire.bar(series.timeframe)}


def _confirmed_until(answer: CandleAnswer, asked: Span) -> UtcMs:
    """The open time of the first unconfirmed candle, or the end of what was asked."""
    unconfirmed = answer.rows.open_time[~answer.confirmed]
    return int(unconfirmed.min()) if len(unconfirmed) else asked.end


def _without(known: CandleAnswer, again: CandleAnswer) -> CandleAnswer:
    """The rows of ``again`` whose bars are not in ``known``."""
    ordinal = known.rows.series.timeframe.ordinal
    return again.take(~np.isin(ordinal(again.rows.open_time), ordinal(known.rows.open_time)))
