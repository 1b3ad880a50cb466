from __future__ import annotations

import itertools
import random
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.exchange.pacing import CLOSEST, RECOVERY_S, Allowance, Pacer, RateLimit

LIMITS = st.builds(RateLimit, requests=st.integers(1, 50), window_s=st.sampled_from([0.5, 1.0, 2.0, 5.0]))


def starts(pacer: Pacer, idle_s: list[float], late: list[float], refusals: frozenset[int] = frozenset()) -> list[float]:
    """The start times of callers that come after ``idle_s`` and wake up ``late`` intervals too late."""
    now, times = 1000.0, []
    for number, (idle, lateness) in enumerate(zip(idle_s, late, strict=True)):
        now += idle
        now = pacer.next_start(now) + lateness * pacer.interval_s
        pacer.started(now)
        times.append(now)
        if number in refusals:
            pacer.slow_down(now, 0.0)
    return times


def fullest(times: list[float], window_s: float) -> int:
    return max(bisect_left(times, time + window_s) - number for number, time in enumerate(times))


@given(limit=LIMITS, data=st.data())
def test_no_window_ever_holds_more_starts_than_the_limit_allows(limit: RateLimit, data: st.DataObject) -> None:
    share = data.draw(st.sampled_from([0.5, 0.8, 0.9, 0.95]))
    count = data.draw(st.integers(1, 3 * limit.requests + 5))
    idle_s = data.draw(st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.1, 1.0, 100.0]), min_size=count, max_size=count))
    late = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.99, 3.0]), min_size=count, max_size=count))
    refusals = data.draw(st.frozensets(st.integers(0, count), max_size=3))
    times = starts(Pacer(limit, share=share), idle_s, late, refusals)
    assert fullest(times, limit.window_s - 1e-9) <= limit.requests


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.95])
def test_nor_does_a_long_run_of_work_after_idleness(share: float) -> None:
    for requests in range(1, 51):
        limit, count = RateLimit(requests=requests, window_s=2.0), 3 * requests + 5
        times = starts(Pacer(limit, share=share), [0.0] * count, [0.0] * count)
        assert fullest(times, limit.window_s - 1e-9) <= requests


@given(limit=LIMITS, late=st.lists(st.floats(0.0, 3.0), min_size=2, max_size=60))
def test_two_requests_never_come_closer_than_three_quarters_of_an_interval(limit: RateLimit, late: list[float]) -> None:
    pacer = Pacer(limit)
    times = starts(pacer, [0.0] * len(late), late)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) >= CLOSEST * pacer.interval_s * (1 - 1e-6)


@pytest.mark.parametrize("requests", [10, 20, 40])
def test_with_work_at_hand_it_keeps_the_permitted_rate_in_spite_of_a_late_timer(requests: int) -> None:
    pacer, rng = Pacer(RateLimit(requests=requests, window_s=2.0)), random.Random(3)
    late = [rng.uniform(0.0, 0.4) for _ in range(1000)]
    times = starts(pacer, [0.0] * 1000, late)
    rate = 999 / (times[-1] - times[0])
    assert 0.95 * 0.9 * requests / 2.0 <= rate <= 0.9 * requests / 2.0 * 1.001


def test_an_idle_hour_earns_one_request_of_credit_and_no_burst() -> None:
    pacer = Pacer(RateLimit(requests=40, window_s=2.0))
    times = starts(pacer, [0.0, 3600.0, 0.0, 0.0, 0.0], [0.0] * 5)
    gaps = [(later - earlier) / pacer.interval_s for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= CLOSEST - 1e-6
    assert sum(gaps) >= len(gaps) - 1 - 1e-6


def test_after_a_refusal_nobody_starts_before_the_time_asked_for() -> None:
    pacer = Pacer(RateLimit(requests=20, window_s=2.0))
    pacer.started(100.0)
    pacer.slow_down(100.0, 7.0)
    assert pacer.next_start(100.0) == 107.0
    pacer.slow_down(101.0, 1.0)
    assert pacer.next_start(102.0) == 107.0, "a later, shorter demand does not shorten the first"


def test_a_refusal_without_a_time_pauses_for_one_window() -> None:
    pacer = Pacer(RateLimit(requests=20, window_s=2.0))
    pacer.slow_down(100.0)
    assert pacer.next_start(100.0) == 102.0


def test_after_a_refusal_the_spacing_grows_by_half_and_returns_to_normal_within_a_minute() -> None:
    pacer = Pacer(RateLimit(requests=20, window_s=2.0))
    pacer.slow_down(100.0, 0.5)
    assert pacer.spacing_s(100.5) == pytest.approx(1.5 * pacer.interval_s)
    assert pacer.spacing_s(100.5 + RECOVERY_S / 2) == pytest.approx(1.25 * pacer.interval_s)
    assert pacer.spacing_s(100.5 + RECOVERY_S) == pytest.approx(pacer.interval_s)


def test_many_refusals_of_one_burst_widen_once_and_repeated_bursts_fourfold_at_most() -> None:
    pacer = Pacer(RateLimit(requests=20, window_s=2.0))
    for _ in range(10):
        pacer.slow_down(100.0, 1.0)
    assert pacer.spacing_s(101.0) == pytest.approx(1.5 * pacer.interval_s)
    for burst in range(10):
        pacer.slow_down(102.0 + 2 * burst, 1.0)
    assert pacer.spacing_s(121.0) == pytest.approx(4.0 * pacer.interval_s)


@given(limit=LIMITS, share=st.sampled_from([0.5, 0.9, 1.0]), idle_s=st.lists(st.sampled_from([0.0, 0.01, 0.3, 7.0])))
def test_an_allowance_is_spent_at_once_and_never_exceeded(limit: RateLimit, share: float, idle_s: list[float]) -> None:
    allowance, now, times = Allowance(limit, share=share), 1000.0, []
    for idle in idle_s:
        now = allowance.next_start(now + idle)
        allowance.started(now)
        times.append(now)
    allowed = max(1, int(limit.requests * share))
    assert times[:allowed] == list(itertools.accumulate(idle_s, initial=1000.0))[1 : allowed + 1]
    assert all(later - time >= limit.window_s - 1e-9 for time, later in zip(times, times[allowed:], strict=False))
