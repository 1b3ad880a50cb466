from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.resilience import Backoff, BreakerState, CircuitBreaker

SEEDS = st.integers(0, 2**32)


def opened(seed: int = 1, now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(rng=random.Random(seed))
    for _ in range(breaker.failures_to_open):
        assert breaker.may_try(now)
        breaker.failed(now)
    return breaker


def probed(breaker: CircuitBreaker, now: float) -> float:
    """Wait until a probe is let through; returns the time."""
    now += breaker.wait_s(now)
    assert breaker.may_try(now)
    return now


@given(attempt=st.integers(0, 10_000), seed=SEEDS)
def test_a_delay_never_exceeds_the_doubled_base_nor_the_cap(attempt: int, seed: int) -> None:
    delay_s = Backoff().delay_s(attempt, random.Random(seed))
    assert 0.0 <= delay_s <= min(5.0, 0.2 * 2 ** min(attempt, 50))


def test_jitter_is_full_so_that_many_callers_spread_over_the_whole_wait() -> None:
    rng = random.Random(7)
    delays = [Backoff().delay_s(9, rng) for _ in range(1000)]
    assert min(delays) < 0.1
    assert max(delays) > 4.9
    assert 2.3 < sum(delays) / len(delays) < 2.7


def test_it_opens_after_five_failures_in_a_row_and_not_after_four() -> None:
    breaker = CircuitBreaker(rng=random.Random(1))
    for _ in range(4):
        breaker.failed(0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED
    breaker.failed(0.0)
    assert breaker.state(0.0) is BreakerState.OPEN
    assert breaker.failing_since == 0.0


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = CircuitBreaker(rng=random.Random(1))
    for _ in range(20):
        for _ in range(4):
            breaker.failed(0.0)
        breaker.succeeded(0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED


@given(seed=SEEDS)
def test_open_times_double_from_one_to_five_seconds_within_their_jitter(seed: int) -> None:
    breaker, now = opened(seed), 0.0
    for nominal_s in (1.0, 2.0, 4.0, 5.0, 5.0, 5.0):
        wait_s = breaker.wait_s(now)
        assert max(1.0, 0.8 * nominal_s) - 1e-9 <= wait_s <= 1.2 * nominal_s + 1e-9
        now = probed(breaker, now)
        breaker.failed(now, began=now)


def test_half_open_lets_exactly_one_probe_through_and_keeps_the_others_waiting() -> None:
    breaker = opened()
    now = probed(breaker, 0.0)
    assert breaker.state(now) is BreakerState.HALF_OPEN
    assert not any(breaker.may_try(now + later) for later in (0.0, 0.5, 5.0, 500.0))
    assert breaker.wait_s(now) > 0


def test_a_successful_probe_closes_it_for_everybody_and_forgets_the_growth() -> None:
    breaker = opened()
    now = probed(breaker, 0.0)
    breaker.failed(now, began=now)
    now = probed(breaker, now)
    breaker.succeeded(now)
    assert breaker.failing_since is None
    assert all(breaker.may_try(now) for _ in range(10))
    for _ in range(5):
        breaker.failed(now)
    assert breaker.wait_s(now) <= 1.2


def test_an_abandoned_probe_makes_room_for_the_next_at_once() -> None:
    breaker = opened()
    now = probed(breaker, 0.0)
    breaker.abandoned(began=now)
    assert breaker.wait_s(now) == 0.0
    assert breaker.may_try(now)


def test_a_call_from_before_the_opening_neither_lengthens_it_nor_takes_the_probes_place() -> None:
    breaker = opened(now=10.0)
    before = breaker.wait_s(10.5)
    breaker.failed(10.5, began=9.0)
    assert breaker.wait_s(10.5) == before
    now = probed(breaker, 10.5)
    breaker.failed(now, began=9.0)
    breaker.abandoned(began=9.0)
    assert breaker.state(now) is BreakerState.HALF_OPEN
    assert not breaker.may_try(now)


@given(seed=SEEDS, steps=st.lists(st.tuples(st.floats(0.0, 3.0), st.sampled_from("+-x ")), max_size=60))
def test_whatever_happens_probes_go_one_at_a_time_and_at_most_once_a_second(
    seed: int, steps: list[tuple[float, str]]
) -> None:
    breaker, now, probe_began, last_failed = opened(seed), 0.0, None, 0.0
    for elapsed, outcome in steps:
        now += elapsed
        if probe_began is None and breaker.may_try(now):
            if breaker.state(now) is BreakerState.CLOSED:
                return
            assert now - last_failed >= 1.0
            probe_began = now
        assert not breaker.may_try(now)
        if probe_began is None or outcome == " ":
            continue
        if outcome == "+":
            breaker.succeeded(now)
            assert breaker.state(now) is BreakerState.CLOSED
            return
        if outcome == "-":
            breaker.failed(now, began=probe_began)
            last_failed = now
        else:
            breaker.abandoned(began=probe_began)
            assert breaker.may_try(now)
            breaker.abandoned(began=now)
        probe_began = None


@pytest.mark.parametrize("round_number", range(20))
def test_of_many_threads_one_becomes_the_probe(round_number: int) -> None:
    breaker = opened(round_number)
    now, barrier, allowed = breaker.wait_s(0.0), threading.Barrier(8), []

    def caller() -> None:
        barrier.wait()
        if breaker.may_try(now):
            allowed.append(threading.get_ident())

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == 1
