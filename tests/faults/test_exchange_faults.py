"""An exchange that breaks, stalls or lies: only a good answer covers a span, and the end is the exchange's truth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from chandlery.domain.span import Spans
from chandlery.domain.timeframe import HOUR_MS, MINUTE_MS
from chandlery.simulator import OBVIOUS_FAULTS, FaultKind, FaultPlan, RateLimits, Simulator
from faults.world import PAGES, Pace, World, small_exchange, snapshot

BAD_ROWS = (FaultKind.NAN_ROW, FaultKind.CROSSED_ROW)
"""Faults in a page that is good otherwise: its other rows are stored at once, the bad bar in the next run."""
QUICK = Pace(timeout_s=1.0)


@pytest.fixture
def broken(world: World) -> World:
    """The world with a client that does not wait long."""
    world.pace = QUICK
    return world


def aside(world: World) -> list[tuple[str, str]]:
    with psycopg.connect(world.direct) as connection:
        return connection.execute("SELECT reason, raw FROM chandlery.rejected ORDER BY open_time").fetchall()


@pytest.mark.parametrize("kind", sorted(OBVIOUS_FAULTS - set(BAD_ROWS)))
@pytest.mark.parametrize("endpoint", ["history-candles", ""], ids=["history", "first of any"])
def test_an_obvious_fault_is_outlived_in_the_same_run(broken: World, kind: FaultKind, endpoint: str) -> None:
    broken.exchange.arm(kind, count=2, endpoint=endpoint, duration_s=1.5 if kind is FaultKind.HANG else 0.2)
    (report,) = broken.collect()
    assert report.complete
    assert any(request.fault == kind for request in broken.exchange.journal.requests)
    broken.assert_complete()
    assert not aside(broken)


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_set_aside_and_its_bar_asked_for_again_in_the_next_run(broken: World, kind: FaultKind) -> None:
    broken.exchange.arm(kind, endpoint="candles")
    (report,) = broken.collect()
    assert report.result.rejected == 1
    assert len(report.missing) == 1
    assert report.missing.length == MINUTE_MS
    broken.assert_honest()
    ((reason, raw),) = aside(broken)
    assert reason
    assert raw.startswith("[")
    broken.exchange.journal.clear()
    (report,) = broken.collect()
    assert report.complete
    broken.assert_complete()
    asked = [request for request in broken.exchange.journal.requests if "candles" in request.endpoint]
    assert len(asked) == 1


@pytest.mark.parametrize("kind", [FaultKind.EMPTY_PAGE, FaultKind.SHORT_PAGE, FaultKind.HOLE])
@pytest.mark.parametrize("endpoint", ["history-candles", "candles"])
def test_rows_that_are_missing_are_asked_for_again_before_their_bars_count_as_empty(
    broken: World, kind: FaultKind, endpoint: str
) -> None:
    """But for those of the last three minutes, which the history has not yet: they are asked for in the next run."""
    broken.exchange.arm(kind, endpoint=endpoint)
    (report,) = broken.collect()
    assert report.missing.length <= 3 * MINUTE_MS
    broken.assert_honest()
    (report,) = broken.collect()
    assert report.complete
    broken.assert_complete()


def test_an_exchange_that_leaves_out_rows_again_and_again_is_asked_until_it_has_nothing_to_add(broken: World) -> None:
    broken.exchange.arm(FaultKind.HOLE, count=1_000)
    (report,) = broken.collect()
    assert report.complete
    broken.assert_complete()


def test_what_the_exchange_denies_twice_has_no_candle(broken: World) -> None:
    """The one lie that must be believed: that is how it says that nothing was traded."""
    broken.exchange.arm(FaultKind.EMPTY_PAGE, count=1_000)
    (report,) = broken.collect()
    assert report.result.inserted == 0
    assert all(not len(stored) for _, stored, _ in snapshot(broken.direct))


def test_a_revised_candle_is_stored_as_it_was_said_and_the_difference_recorded_when_it_is_said_again(
    broken: World,
) -> None:
    broken.exchange.arm(FaultKind.REVISED_CANDLE, endpoint="candles")
    broken.collect()
    with psycopg.connect(broken.direct) as connection:
        # somebody asks for everything anew
        connection.execute("UPDATE chandlery.coverage SET spans = '{}'")
    (report,) = broken.collect()
    assert report.result.revised == 1
    broken.assert_complete()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_clock_an_hour_ahead_covers_nothing_that_has_not_happened(broken: World, count: int) -> None:
    broken.exchange.arm(FaultKind.WRONG_CLOCK, count=count)
    for _ in range(2):
        broken.collect()
        ((_, _, covered),) = snapshot(broken.direct)
        assert not covered - Spans([broken.span(broken.series[0])])
        broken.assert_honest()
    broken.exchange.disarm()
    (report,) = broken.collect()
    assert report.complete
    broken.assert_complete()
    broken.exchange.clock.advance(2 * HOUR_MS)  # type: ignore[attr-defined]
    broken.collect()
    broken.assert_complete()


@pytest.mark.parametrize("seed", range(4))
def test_a_fifth_of_all_answers_broken_in_every_way_leaves_the_truth(world: World, seed: int) -> None:
    market = small_exchange(seed=seed)
    plan = FaultPlan(seed, 0.2, sorted(OBVIOUS_FAULTS - {FaultKind.HANG, FaultKind.SLOW_BODY, FaultKind.DELAY}))
    with Simulator(market.market, clock=market.clock, fault_plan=plan).run_in_thread() as exchange:
        sick = replace(world, exchange=exchange, pace=QUICK)
        for _ in range(6):
            (report,) = sick.collect()
            sick.assert_honest()
            if report.complete:
                break
        sick.assert_complete()
        assert any(request.fault for request in exchange.journal.requests)


def test_an_outage_of_the_exchange_is_waited_out(world: World) -> None:
    world.pace = Pace(pages_per_s=20, timeout_s=1.0)
    with world.collecting() as run:
        run.wait_for_pages(3)
        world.exchange.outage(5.0)
        back = time.monotonic() + 5.0
    (report,) = run.reports
    assert report.complete
    assert run.seconds_to_the_first_page_after(back) < 6.0
    world.assert_complete()


def test_a_single_request_outlives_an_outage_of_twenty_seconds(world: World) -> None:
    """Nothing else is under way, so this one request has to live through it, whatever number of attempts that takes."""
    world.pace = Pace(pages_per_s=2, timeout_s=1.0)
    with world.collecting() as run:
        while not any(request.served for request in list(world.exchange.journal.requests)):
            time.sleep(0.01)
        world.exchange.outage(20.0)
        back = time.monotonic() + 20.0
        run.wait_for_pages(1)
    (report,) = run.reports
    assert report.complete
    assert run.seconds_to_the_first_page_after(back) < 10.0, "the breaker's five seconds, and the pace of this test"
    world.assert_complete()


@pytest.fixture
def strict(world: World) -> Iterator[World]:
    """An exchange that counts requests and says how long to wait."""
    counted = small_exchange()
    limits = RateLimits(retry_after=True)
    with Simulator(counted.market, clock=counted.clock, rate_limits=limits).run_in_thread() as exchange:
        yield replace(world, exchange=exchange)


def test_who_asks_too_fast_waits_as_long_as_the_exchange_says_and_loses_nothing(strict: World) -> None:
    strict.pace = Pace(pages_per_s=200.0)
    (report,) = strict.collect()
    assert report.complete
    strict.assert_complete()
    asked = [request for request in strict.exchange.journal.requests if "candles" in request.endpoint]
    assert len(asked) < 3 * PAGES
