"""Slots in hand: as many as are wanted, none of them late, and none where nobody shares."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from chandlery.exchange.shared_pace import SlotsInHand, nobody_shares

STEP = 0.125
"""Seconds between two slots: eight are a second."""


class Others:
    """A shared pace on a clock of the test's own, and what was asked of it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.taken_until = 0.0
        self.asked: list[int] = []

    async def take(self, endpoint: str, interval_s: float, count: int) -> float | None:
        assert endpoint == "/history"
        self.asked.append(count)
        first = max(self.now, self.taken_until)
        self.taken_until = first + count * interval_s
        return first - self.now

    def slots(self, take: Callable[[str, float, int], Awaitable[float | None]] | None = None) -> SlotsInHand:
        return SlotsInHand(take or self.take, "/history", STEP, lambda: self.now)


def next_start(slots: SlotsInHand, waiting: int = 1) -> float:
    return asyncio.run(slots.next_start(waiting))


def test_as_many_are_taken_as_wait_and_each_serves_one_request() -> None:
    others = Others()
    slots = others.slots()
    starts = []
    for waiting in (3, 2, 1, 1):
        others.now = next_start(slots, waiting)
        starts.append(others.now)
        slots.started()
    assert starts == [100.0, 100.125, 100.25, 100.375]
    assert others.asked == [3, 1]


def test_however_many_wait_others_have_their_turn_soon() -> None:
    others = Others()
    next_start(others.slots(), 500)
    assert others.asked == [8]


def test_of_a_slow_pace_one_slot_is_taken_at_a_time() -> None:
    others = Others()
    slots = SlotsInHand(others.take, "/history", 2.2, lambda: others.now)
    next_start(slots, 5)
    assert others.asked == [1]


def test_what_others_have_taken_is_waited_for() -> None:
    others = Others()
    others.taken_until = 107.0
    assert next_start(others.slots()) == 107.0


def test_a_slot_that_is_late_is_not_used_any_more() -> None:
    """After a break of the exchange, say."""
    others = Others()
    slots = others.slots()
    next_start(slots, 5)
    others.now = 100.4
    assert next_start(slots, 5) == 100.375
    others.now = 200.0
    assert next_start(slots, 2) == 200.0
    assert others.asked == [5, 2]


def test_asking_again_before_the_start_takes_no_further_slot() -> None:
    others = Others()
    slots = others.slots()
    assert [next_start(slots) for _ in range(3)] == [100.0] * 3
    assert others.asked == [1]


def test_where_nobody_shares_the_request_may_start_at_once() -> None:
    others = Others()
    slots = others.slots(nobody_shares)
    assert next_start(slots) < others.now
    slots.started()
    assert next_start(slots) < others.now
