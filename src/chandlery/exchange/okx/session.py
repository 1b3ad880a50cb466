"""One HTTP session with OKX: every request is paced, tried again where that can help, and kept off a dead host.

The callers of one endpoint stand in one line. Its head waits for the next slot of the pacer and, while the host does
not answer, for the circuit breaker; so all waiting callers together make no more attempts than the breaker allows.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from chandlery.domain.resilience import CircuitBreaker
from chandlery.errors import ChandleryError, ExchangeError, ExchangeUnavailable, RateLimited
from chandlery.exchange.okx import wire
from chandlery.exchange.okx.settings import LIMITS, Endpoint, OkxSettings
from chandlery.exchange.pacing import Pacer
from chandlery.exchange.shared_pace import SlotsInHand, TakeSlots, nobody_shares

if TYPE_CHECKING:
    from chandlery.exchange.okx.http import HttpAnswer, HttpClient

T = TypeVar("T")
_Fetch = Callable[["HttpClient"], Awaitable["HttpAnswer"]]

Sleep = Callable[[float], Awaitable[object]]
Clock = Callable[[], float]


class EventKind(StrEnum):
    """What happened to a request, or to the connection as a whole."""

    ANSWERED = "answered"
    RETRY = "retry"
    GAVE_UP = "gave-up"
    BREAKER_OPENED = "breaker-opened"
    BREAKER_CLOSED = "breaker-closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeEvent:
    """Something worth counting or logging.

    ``attempt`` counts from 1. ``wait_s`` is the pause before the next attempt, not counting the wait for a slot.
    ``error`` is what went wrong, None where nothing did; ``code`` is OKX's code of it, or an empty string.
    """

    kind: EventKind
    endpoint: Endpoint
    attempt: int
    wait_s: float = 0.0
    code: str = ""
    error: ExchangeError | None = None


OnEvent = Callable[[ExchangeEvent], None]


@dataclass(slots=True)
class _Line:
    """The callers of one endpoint: the lock keeps their order, the pacer spaces them, and slots shared with others."""

    pacer: Pacer
    slots: SlotsInHand
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class OkxSession:
    """An async context manager around one HTTP connection pool.

    ``requests`` counts the attempts made per endpoint, ``waits_s`` the seconds for which its line stood at the limit.
    ``on_event`` is called in the event loop and must not block.
    ``take_slots`` is asked for a pace that other programs keep too. Clock, sleep and randomness may be replaced; the
    clock is of any kind that never runs backwards.
    """

    def __init__(
        self,
        settings: OkxSettings,
        *,
        on_event: OnEvent | None = None,
        take_slots: TakeSlots = nobody_shares,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.requests: Counter[Endpoint] = Counter()
        self.waits_s: defaultdict[Endpoint, float] = defaultdict(float)
        self._settings = settings
        self._on_event = on_event or (lambda _event: None)
        self._clock, self._sleep = clock, sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._breaker = CircuitBreaker(rng=self._rng)
        self._reached = False
        self._lines = {}
        for endpoint, limit in {**LIMITS, **settings.limits}.items():
            pacer = Pacer(limit, share=settings.share)
            self._lines[endpoint] = _Line(pacer, SlotsInHand(take_slots, endpoint, pacer.interval_s, clock))
        self._http: HttpClient | None = None

    async def __aenter__(self) -> Self:
        from chandlery.exchange.okx.http import HttpClient

        self._http = await HttpClient(self._settings).__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._http is not None:
            await self._http.__aexit__(*error)
            self._http = None

    async def get(self, endpoint: Endpoint, parameters: Mapping[str, str | int], read: Callable[[msgspec.Raw], T]) -> T:
        """What ``read`` makes of the answer's data; transient errors, those of ``read`` too, are tried again.

        While a host is away that answered before, attempts do not count: then patience decides. Raises the
        ExchangeError of the last attempt, or ExchangeUnavailable when patience with a dead host ends.
        """
        return await self._tried(
            endpoint,
            lambda http: http.get(endpoint, parameters),
            lambda answer: read(wire.data_of(answer.status, answer.body, answer.retry_after_s)),
        )

    async def download(self, endpoint: Endpoint, url: str, largest: int) -> bytes:
        """A file of at most ``largest`` bytes, in the line of ``endpoint``; tried again like ``get``."""
        return await self._tried(endpoint, lambda http: http.download(url, largest), wire.file_of)

    async def _tried(self, endpoint: Endpoint, fetch: _Fetch, read: Callable[[HttpAnswer], T]) -> T:
        began, attempt = self._clock(), 1
        while True:
            slot = await self._turn(endpoint, began)
            try:
                answer = await self._attempt(endpoint, fetch, read, slot)
            except ExchangeError as error:
                attempt = await self._pause_before_retry(endpoint, attempt, error)
            else:
                self._tell(EventKind.ANSWERED, endpoint, attempt)
                return answer

    async def _pause_before_retry(self, endpoint: Endpoint, attempt: int, error: ExchangeError) -> int:
        """Wait as ``error`` demands, or raise it where another attempt cannot help or was the last.

        Returns the number of the next attempt.
        """
        away = self._reached and self._breaker.failing_since is not None
        if not error.transient or (attempt >= self._settings.attempts and not away):
            self._tell(EventKind.GAVE_UP, endpoint, attempt, error=error)
            raise error
        # After a rate limit the pacer itself holds the line back.
        limited = isinstance(error, RateLimited)
        wait_s = 0.0 if limited else self._settings.backoff.delay_s(attempt - 1, self._rng)
        self._tell(EventKind.RETRY, endpoint, attempt, wait_s=wait_s, error=error)
        await self._sleep(wait_s)
        return attempt if away else attempt + 1

    async def _turn(self, endpoint: Endpoint, began: float) -> float:
        """Wait in line for a slot and for the breaker's leave; returns the time of the slot."""
        line = self._lines[endpoint]
        line.waiting += 1
        try:
            async with line.lock:
                return await self._turn_of_head(endpoint, line, began)
        finally:
            line.waiting -= 1

    async def _turn_of_head(self, endpoint: Endpoint, line: _Line, began: float) -> float:
        while True:
            shared_start = await line.slots.next_start(line.waiting)
            now = self._clock()
            start = max(line.pacer.next_start(now), shared_start)
            if start > now:
                self.waits_s[endpoint] += start - now
                await self._sleep(start - now)
            elif self._breaker.may_try(now):
                line.pacer.started(now)
                line.slots.started()
                return now
            else:
                self._check_patience(endpoint, began, now)
                await self._sleep(self._breaker.wait_s(now))

    def _check_patience(self, endpoint: Endpoint, began: float, now: float) -> None:
        since = self._breaker.failing_since
        silent_s = 0.0 if since is None else now - max(began, since)
        if silent_s < self._settings.patience_s:
            return
        error = ExchangeUnavailable(
            f"{self._settings.base_url} has not answered for {silent_s:.0f} s.",
            hint="Check the network, HTTPS_PROXY and base_url; nothing is lost, run the same again later.",
        )
        self._tell(EventKind.GAVE_UP, endpoint, 0, error=error)
        raise error

    async def _attempt(self, endpoint: Endpoint, fetch: _Fetch, read: Callable[[HttpAnswer], T], slot: float) -> T:
        if self._http is None:
            raise RuntimeError("a source must be entered with 'async with' before use")
        self.requests[endpoint] += 1
        with self._reported_to_breaker(endpoint, slot):
            answer = await fetch(self._http)
            try:
                return read(answer)
            except ExchangeError as error:
                if isinstance(error, RateLimited) or answer.retry_after_s is not None:
                    self._lines[endpoint].pacer.slow_down(self._clock(), answer.retry_after_s)
                raise

    @contextmanager
    def _reported_to_breaker(self, endpoint: Endpoint, slot: float) -> Iterator[None]:
        """Only what speaks of the host counts against it: a refusal or a rate limit is a host that answers."""
        try:
            yield
        except ExchangeUnavailable as error:
            self._host_failed(endpoint, slot, error)
            raise
        except ChandleryError:
            self._host_answered(endpoint)
            raise
        except BaseException:
            self._breaker.abandoned(began=slot)
            raise
        self._host_answered(endpoint)

    def _host_failed(self, endpoint: Endpoint, slot: float, error: ExchangeError) -> None:
        was_failing = self._breaker.failing_since is not None
        self._breaker.failed(self._clock(), began=slot)
        if not was_failing and self._breaker.failing_since is not None:
            self._tell(EventKind.BREAKER_OPENED, endpoint, 0, error=error)

    def _host_answered(self, endpoint: Endpoint) -> None:
        self._reached = True
        was_failing = self._breaker.failing_since is not None
        self._breaker.succeeded(self._clock())
        if was_failing:
            self._tell(EventKind.BREAKER_CLOSED, endpoint, 0)

    def _tell(
        self,
        kind: EventKind,
        endpoint: Endpoint,
        attempt: int,
        *,
        wait_s: float = 0.0,
        error: ExchangeError | None = None,
    ) -> None:
        code = error.code if error else ""
        self._on_event(
            ExchangeEvent(kind=kind, endpoint=endpoint, attempt=attempt, wait_s=wait_s, code=code, error=error)
        )
