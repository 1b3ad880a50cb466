"""The simulated exchange as a web application: a request in, through limits, faults and the market, an answer out."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from chandlery.domain.timeframe import HOUR_MS, UtcMs
from chandlery.errors import RequestRefused
from chandlery.simulator.archive import FIRST_ARCHIVED_MS, Archive
from chandlery.simulator.archive_files import FileAnswer, file_answer, missing_file
from chandlery.simulator.clock import Clock
from chandlery.simulator.delivery import SILENT, answer_instead, deliver, fall_silent, gateway_page
from chandlery.simulator.endpoints import ANSWERS, FILE_LISTING, FILES, INSTRUMENTS, PAGES, read_candle_query
from chandlery.simulator.faults import Fault, FaultKind, Faults
from chandlery.simulator.journal import Journal, Request
from chandlery.simulator.limits import DOCUMENTED_LIMITS, Limit, RateLimiter
from chandlery.simulator.market import Market
from chandlery.simulator.pages import spoilt_query, spoilt_rows
from chandlery.simulator.wire import Answer, failure, rate_limited, refused, success

_WRONG_BY_MS = HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """How the exchange limits its clients.

    ``limits`` is by endpoint; no limits at all if empty. Refusals take the HTTP statuses of ``statuses`` in turn.
    ``retry_after`` adds the header of that name, which the real exchange does not send.
    """

    limits: Mapping[str, Limit] = field(default_factory=lambda: DOCUMENTED_LIMITS)
    statuses: Sequence[int] = (429, 200)
    retry_after: bool = False


NO_RATE_LIMITS = RateLimits(limits={})
"""Every request is served."""


class SimulatedExchange:
    """Answers requests from a market, as the clock, the rate limits and the faults allow."""

    def __init__(
        self,
        market: Market,
        *,
        clock: Clock,
        rate_limits: RateLimits,
        faults: Faults,
        archive_starts_at: UtcMs = FIRST_ARCHIVED_MS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._market, self._clock, self._faults = market, clock, faults
        self._archive = Archive(market, archive_starts_at)
        self._limiter = RateLimiter(rate_limits.limits)
        self._retry_after = rate_limits.retry_after
        self._limit_statuses = itertools.cycle(rate_limits.statuses)
        self._monotonic = monotonic
        self.journal = Journal()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of a client, and write it down."""
        entry = self._entry(request)
        endpoint = entry.endpoint
        wait_s = self._limiter.wait_s(_client(request), endpoint, self._monotonic())
        if wait_s:
            limited = rate_limited(next(self._limit_statuses), wait_s if self._retry_after else None)
            return await deliver(request, _noted(entry, limited), None)
        fault = self._faults.next(endpoint, entry.inst_id)
        entry.fault = fault.kind.value if fault else None
        if fault and fault.kind in SILENT:
            return await fall_silent(request, fault)
        page = gateway_page(fault)
        if page is not None:
            entry.status = page.status
            return page
        answer = self._instead(fault) or await self._made(request, fault)
        return await deliver(request, _noted(entry, answer), fault)

    def _entry(self, request: web.Request) -> Request:
        """A line in the journal; a file is noted by its name, for its folder is the endpoint."""
        path, now = request.path, self._clock.now()
        if path.startswith(f"{FILES}/"):
            name = path.rpartition("/")[2]
            return self.journal.open(now, FILES, {"instId": name.partition("-candlesticks-")[0]}, name)
        return self.journal.open(now, path, request.query)

    def _instead(self, fault: Fault | None) -> Answer | None:
        status = next(self._limit_statuses) if fault and fault.kind is FaultKind.RATE_LIMIT else 429
        return answer_instead(fault, status)

    async def _made(self, request: web.Request, fault: Fault | None) -> Answer | FileAnswer:
        """A file of a month takes a second to make, in which others are answered."""
        if request.path.startswith(f"{FILES}/"):
            return await asyncio.to_thread(self._file, request.path, fault)
        return self._answer(request, fault)

    def _file(self, path: str, fault: Fault | None) -> FileAnswer:
        file = self._archive.at(path, self._clock.now())
        return missing_file() if file is None else file_answer(self._market, file, fault)

    def _answer(self, request: web.Request, fault: Fault | None) -> Answer:
        endpoint, parameters, now = request.path, request.query, self._clock.now()
        try:
            if endpoint == FILE_LISTING:
                origin = f"{request.scheme}://{request.host}"
                return self._archive.listing_answer(parameters, now, origin, fault)
            if endpoint in PAGES:
                return self._page(endpoint, parameters, now, fault)
            if endpoint in ANSWERS:
                ahead_ms = _WRONG_BY_MS if fault and fault.kind is FaultKind.WRONG_CLOCK else 0
                return ANSWERS[endpoint](self._market, parameters, now + ahead_ms)
        except RequestRefused as error:
            return refused(error)
        return failure("404", "Not Found")

    def _page(self, endpoint: str, parameters: Mapping[str, str], now: UtcMs, fault: Fault | None) -> Answer:
        query = spoilt_query(fault, read_candle_query(self._market, parameters, now))
        return success(spoilt_rows(fault, PAGES[endpoint](self._market, query, now)))


def _client(request: web.Request) -> tuple[str, ...]:
    """Whom limits count: an address, and for the instruments each instType of it apart."""
    address = request.remote or ""
    return (address, request.query.get("instType", "")) if request.path == INSTRUMENTS else (address,)


def _noted(entry: Request, answer: Answer | FileAnswer) -> Answer | FileAnswer:
    """``answer``, written into the journal."""
    entry.status, entry.code, entry.rows = answer.status, answer.code, answer.rows
    return answer
