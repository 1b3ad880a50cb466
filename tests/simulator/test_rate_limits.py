"""Rate limits: a sliding window for each client and endpoint, and no bursts; time is an argument."""

from __future__ import annotations

import itertools

import pytest
from simulator_client import Asker

from chandlery.simulator import FixedClock, Limit, RateLimits, SeededMarket, Simulator
from chandlery.simulator.endpoints import CANDLES, HISTORY, INSTRUMENTS, TIME
from chandlery.simulator.limits import DOCUMENTED_LIMITS, RateLimiter

TEN_A_SECOND = {"/x": Limit(requests=10, window_s=1.0)}
NEVER_AGAIN = {HISTORY: Limit(requests=1, window_s=3_600.0)}


def accepted(limiter: RateLimiter, times: list[float], endpoint: str = "/x") -> int:
    return sum(limiter.wait_s("me", endpoint, now) == 0.0 for now in times)


@pytest.mark.parametrize("endpoint", [CANDLES, HISTORY, TIME])
def test_an_even_pace_at_nine_tenths_of_the_limit_is_never_refused(endpoint: str):
    limit = DOCUMENTED_LIMITS[endpoint]
    step_s = limit.window_s / limit.requests / 0.9
    assert accepted(RateLimiter(DOCUMENTED_LIMITS), [n * step_s for n in range(1_000)], endpoint) == 1_000


def test_a_tenth_above_the_limit_is_refused_now_and_then():
    assert 980 <= accepted(RateLimiter(TEN_A_SECOND), [n / 11 for n in range(1_100)]) <= 1_010


def test_a_burst_is_refused_although_the_window_has_room():
    limiter = RateLimiter(TEN_A_SECOND)
    assert accepted(limiter, [0.0] * 10) == 5
    assert accepted(limiter, [0.26] * 10) == 5
    assert accepted(limiter, [0.99] * 10) == 0


def test_a_client_that_waits_as_long_as_it_is_told_is_served():
    limiter = RateLimiter(TEN_A_SECOND)
    now = 0.0
    for _ in range(100):
        wait_s = limiter.wait_s("me", "/x", now)
        if wait_s:
            now += wait_s + 1e-9  # a float's breadth later
            assert limiter.wait_s("me", "/x", now) == 0.0
    assert now > 5.0


def test_refused_requests_are_not_counted():
    limiter = RateLimiter(TEN_A_SECOND)
    assert accepted(limiter, [0.0] * 1_000) == 5
    assert accepted(limiter, [1.0]) == 1


def test_clients_and_endpoints_are_limited_apart():
    limiter = RateLimiter(DOCUMENTED_LIMITS)
    assert accepted(limiter, [0.0] * 30, HISTORY) == 10
    assert accepted(limiter, [0.0] * 30, CANDLES) == 20
    assert limiter.wait_s("you", HISTORY, 0.0) == 0.0


def test_an_endpoint_without_a_limit_is_always_served():
    assert accepted(RateLimiter({}), [0.0] * 1_000) == 1_000


def test_refusals_say_50011_with_429_and_200_in_turn():
    with Simulator(SeededMarket(7), rate_limits=RateLimits(limits=NEVER_AGAIN)).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        assert exchange.history(limit=1).data
        refusals = [exchange.history(limit=1) for _ in range(4)]
        assert [(each.status, each.code) for each in refusals] == [(429, "50011"), (200, "50011")] * 2
        assert all("data" not in each.document for each in refusals)
        assert exchange.candles(limit=1).data


def test_retry_after_is_sent_where_asked_for():
    limits = RateLimits(limits=NEVER_AGAIN, statuses=(429,), retry_after=True)
    with Simulator(SeededMarket(7), rate_limits=limits).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        exchange.history(limit=1)
        assert 3_500 < int(exchange.history(limit=1).headers["Retry-After"]) <= 3_600


def test_instruments_are_limited_for_each_type_apart():
    limits = RateLimits(limits={INSTRUMENTS: Limit(requests=1, window_s=3_600.0)})
    with Simulator(SeededMarket(7), clock=FixedClock(0), rate_limits=limits).run_in_thread() as simulator:
        asked = itertools.chain(("SPOT", "SWAP"), ("SPOT",))
        codes = [Asker(simulator.base_url).get(INSTRUMENTS, instType=kind).code for kind in asked]
        assert codes == ["0", "0", "50011"]
