"""How hard the client tries: pacing, retries, the breaker, patience. Counted at the server, not by the clock."""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left
from collections import Counter
from dataclasses import replace

import pytest
from small_okx import CANDLES, FAST, MINUTE, NOW, SmallOkx, candle, hangs, instrument, resets, says, series, serving

from chandlery.domain.resilience import Backoff
from chandlery.domain.span import Span
from chandlery.errors import BadPage, ConfigurationError, ExchangeError, ExchangeUnavailable
from chandlery.exchange.okx import DOCUMENTED_LIMITS, LIMITS, Endpoint, EventKind, ExchangeEvent, OkxSettings, OkxSource
from chandlery.exchange.pacing import RateLimit

OPEN = MINUTE.floor(NOW) - 60 * 60_000
ASKED = Span(OPEN, OPEN + 60_000)


async def page(source: OkxSource) -> None:
    await source.page(instrument(), series(), ASKED)


def test_the_server_never_counts_more_requests_in_a_window_than_allowed_and_nearly_as_many_as_permitted() -> None:
    limit = RateLimit(requests=40, window_s=1.0)  # slow enough for a busy machine to keep up with

    async def run() -> list[float]:
        okx = SmallOkx.with_candles(OPEN)
        async with serving(okx, limits=FAST | dict.fromkeys(CANDLES, limit)) as given, OkxSource(given) as source:
            await source.now()
            async with asyncio.TaskGroup() as group:
                for _ in range(90):
                    group.create_task(page(source))
        return [request.at for request in okx.asked()]

    times = asyncio.run(run())
    counts = [bisect_left(times, time + limit.window_s) - number for number, time in enumerate(times)]
    assert len(times) == 90
    assert max(counts) <= 40
    assert max(counts) >= 0.95 * 36


def test_each_endpoint_has_a_pace_of_its_own() -> None:
    slow = {Endpoint.HISTORY_CANDLES: RateLimit(requests=1, window_s=1000.0)}
    old = Span(MINUTE.floor(NOW) - 2000 * 60_000, MINUTE.floor(NOW) - 1999 * 60_000)

    async def run() -> Counter[Endpoint]:
        okx = SmallOkx.with_candles(OPEN, old.start)
        async with serving(okx, limits=FAST | slow) as given, OkxSource(given) as source:
            await source.page(instrument(), series(), old)
            stuck = asyncio.create_task(source.page(instrument(), series(), old))
            for _ in range(5):
                await page(source)
            stuck.cancel()
            return source.requests

    counted = asyncio.run(run())
    assert (counted[Endpoint.CANDLES], counted[Endpoint.HISTORY_CANDLES]) == (5, 1)


@pytest.mark.parametrize("status", [429, 503])
def test_after_retry_after_nobody_asks_that_endpoint_before_its_time(status: int) -> None:
    async def run() -> list[float]:
        okx = SmallOkx.with_candles(OPEN)
        okx.script(says(b"", status=status, headers={"Retry-After": "1"}))
        async with serving(okx, longest_retry_after_s=0.4) as given, OkxSource(given) as source:
            await source.now()
            async with asyncio.TaskGroup() as group:
                group.create_task(page(source))
                await asyncio.sleep(0.1)
                for _ in range(5):
                    group.create_task(page(source))
        return [request.at for request in okx.asked()]

    first, *others = asyncio.run(run())
    assert len(others) == 6
    assert min(others) - first >= 0.39


def test_retries_end_after_the_attempts_of_the_setting_with_the_last_error() -> None:
    async def run() -> tuple[int, list[ExchangeEvent]]:
        okx, events = SmallOkx(), []
        okx.script(*[says(code="50026", status=500)] * 9)
        async with serving(okx, attempts=4) as given, OkxSource(given, on_event=events.append) as source:
            with pytest.raises(ExchangeUnavailable, match="50026"):
                await page(source)
        return len(okx.asked()), events

    asked, events = asyncio.run(run())
    assert asked == 4
    events = [event for event in events if event.endpoint is Endpoint.CANDLES]
    told = [(event.kind, event.attempt, event.code) for event in events]
    assert told == [(EventKind.RETRY, n, "50026") for n in (1, 2, 3)] + [(EventKind.GAVE_UP, 4, "50026")]
    assert all(isinstance(event.error, ExchangeUnavailable) for event in events)


def test_waits_between_retries_are_those_of_the_backoff() -> None:
    async def run() -> list[float]:
        okx, events = SmallOkx.with_candles(OPEN), []
        okx.script(*[says(b"")] * 3)
        slept: list[float] = []

        async def sleep(duration_s: float) -> None:
            slept.append(duration_s)
            await asyncio.sleep(0)

        backoff = Backoff(base_s=100.0, cap_s=250.0)
        told = {"on_event": events.append, "sleep": sleep}
        async with serving(okx, backoff=backoff) as given, OkxSource(given, **told) as source:  # type: ignore[arg-type]
            await page(source)
        waits = [event.wait_s for event in events if event.kind is EventKind.RETRY]
        assert set(waits) <= set(slept)
        return waits

    first, second, third = asyncio.run(run())
    assert 0 <= first <= 100
    assert 0 <= second <= 200
    assert 0 <= third <= 250


def test_a_page_that_contradicts_its_request_is_asked_again_and_does_not_count_against_the_host() -> None:
    wrong = says([candle(OPEN), candle(OPEN)])

    async def run(attempts: int, *answers: object) -> tuple[int, list[EventKind]]:
        okx, events = SmallOkx.with_candles(OPEN), []
        okx.script(*answers)  # type: ignore[arg-type]
        async with serving(okx, attempts=attempts) as given, OkxSource(given, on_event=events.append) as source:
            await page(source)
        return len(okx.asked()), [event.kind for event in events]

    assert asyncio.run(run(8, wrong, wrong))[0] == 3
    assert EventKind.BREAKER_OPENED not in asyncio.run(run(8, *[wrong] * 6))[1]
    with pytest.raises(BadPage):
        asyncio.run(run(2, wrong, wrong))


def failing_then_honest(failures: int, callers: int, **settings: object) -> tuple[SmallOkx, list[ExchangeEvent]]:
    async def run() -> tuple[SmallOkx, list[ExchangeEvent]]:
        okx, events = SmallOkx.with_candles(OPEN), []
        okx.script(*[says(b"<html>", status=502)] * failures, endpoint=Endpoint.CANDLES)
        async with serving(okx, **settings) as given, OkxSource(given, on_event=events.append) as source:
            await source.now()
            async with asyncio.TaskGroup() as group:
                for _ in range(callers):
                    group.create_task(page(source))
        return okx, events

    return asyncio.run(run())


def test_a_dead_host_gets_one_probe_and_then_everybody_goes_on() -> None:
    okx, events = failing_then_honest(failures=5, callers=20)
    kinds = Counter(event.kind for event in events)
    assert kinds[EventKind.BREAKER_OPENED] == kinds[EventKind.BREAKER_CLOSED] == 1
    times = [request.at for request in okx.asked()]
    assert len(times) == 25
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) >= 0.95, "nobody asked while the breaker was open"
    assert sum(gap > 0.5 for gap in gaps) == 1


def test_a_rate_limit_never_opens_the_breaker() -> None:
    async def run() -> list[EventKind]:
        okx, events = SmallOkx.with_candles(OPEN), []
        okx.script(*[says(code="50011", headers={"Retry-After": "0"})] * 7)
        async with serving(okx) as given, OkxSource(given, on_event=events.append) as source:
            await page(source)
        return [event.kind for event in events]

    kinds = asyncio.run(run())
    assert kinds.count(EventKind.RETRY) == 7
    assert EventKind.BREAKER_OPENED not in kinds


def test_patience_with_a_dead_host_ends_for_all_who_wait() -> None:
    async def run() -> tuple[int, list[ExchangeError]]:
        okx = SmallOkx(always=resets)
        okx.script(*[says([{"ts": str(NOW)}])] * 3, endpoint=Endpoint.TIME)
        async with serving(okx, attempts=100, patience_s=0.5) as given, OkxSource(given) as source:
            results = await asyncio.gather(*(page(source) for _ in range(10)), return_exceptions=True)
        return len(okx.asked()), results  # type: ignore[return-value]

    asked, errors = asyncio.run(run())
    assert all(isinstance(error, ExchangeUnavailable) for error in errors)
    assert any("has not answered for" in str(error) for error in errors)
    assert asked <= 16


def test_a_cancelled_probe_does_not_keep_the_others_out() -> None:
    async def run() -> bool:
        okx = SmallOkx.with_candles(OPEN)
        okx.script(*[says(b"")] * 5, hangs, endpoint=Endpoint.CANDLES)
        async with serving(okx) as given, OkxSource(given) as source:
            probe = asyncio.create_task(page(source))
            await okx.reached(6)
            probe.cancel()
            await asyncio.wait_for(page(source), 2)
        return probe.cancelled()

    assert asyncio.run(run())


def test_the_documented_limits_are_the_default() -> None:
    limits = {endpoint.name: (limit.requests, limit.window_s) for endpoint, limit in DOCUMENTED_LIMITS.items()}
    candles = {"CANDLES": (40, 2.0), "HISTORY_CANDLES": (20, 2.0)}
    assert limits == {**candles, "INSTRUMENTS": (20, 2.0), "TIME": (10, 2.0), "FILE_LISTING": (5, 2.0)}
    assert OkxSettings().limits == LIMITS
    for endpoint, limit in DOCUMENTED_LIMITS.items():
        assert LIMITS[endpoint].requests <= limit.requests, "never faster than documented"
    assert OkxSettings().share == 0.9


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "openapi.okx.com"}, {"base_url": "ftp://okx.com"}, {"base_url": "https://"}, {"share": 0},
        {"base_url": "http://[::1"}, {"share": 1.1}, {"page_size": 0}, {"page_size": 301}, {"attempts": 0},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        OkxSettings(**wrong)  # type: ignore[arg-type]


def test_demo_trading_is_asked_for_by_its_header_and_only_then() -> None:
    async def run(demo: bool) -> str | None:
        okx = SmallOkx()
        async with serving(okx, demo=demo) as given, OkxSource(given) as source:
            await source.now()
        return okx.requests[0].headers.get("x-simulated-trading")

    assert asyncio.run(run(demo=True)) == "1"
    assert asyncio.run(run(demo=False)) is None


def test_a_proxy_of_the_environment_is_used_for_the_exchange_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> tuple[int, int]:
        proxy, local = SmallOkx(), SmallOkx()
        async with serving(proxy) as at_proxy, serving(local) as at_local:
            monkeypatch.setenv("HTTP_PROXY", at_proxy.base_url)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            for settings in (replace(at_proxy, base_url="http://okx.invalid"), at_local):
                async with OkxSource(settings) as source:
                    await source.now()
        return len(proxy.requests), len(local.requests)

    through_proxy, direct = asyncio.run(run())
    assert through_proxy > 0
    assert direct > 0


@pytest.mark.parametrize(
    ("base_url", "demo", "exchange"),
    [
        ("https://openapi.okx.com", False, "okx"),
        ("https://www.okx.com", True, "okx-demo"),
        ("http://127.0.0.1:8080", False, "okx-simulated"),
        ("http://127.8.8.8", True, "okx-simulated"),
        ("http://localhost:1", False, "okx-simulated"),
        ("http://[::1]:1", False, "okx-simulated"),
    ],
)
def test_simulated_and_demo_candles_are_stored_under_names_of_their_own(
    base_url: str, demo: bool, exchange: str
) -> None:
    assert OkxSource(OkxSettings(base_url=base_url, demo=demo)).exchange == exchange
