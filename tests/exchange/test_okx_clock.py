"""The exchange's clock as it is kept here: an exchange that does not answer keeps nobody who asks for the time."""

from __future__ import annotations

import asyncio

from chandlery.exchange.okx.clock import ExchangeClock


class Exchange:
    """Tells the time once; after that its answers do not come until it is ``back``."""

    def __init__(self, time: int) -> None:
        self.time = time
        self.asked = 0
        self.back = asyncio.Event()

    async def read(self) -> int:
        self.asked += 1
        if self.asked > 1:
            await self.back.wait()
        return self.time


def test_a_time_that_was_told_once_is_carried_on_while_no_answer_comes() -> None:
    """A stream needs the time to store what is pushed, and its connection is another one."""
    steady = [100.0]

    async def ask() -> None:
        exchange = Exchange(1_000_000)
        clock = ExchangeClock(
            exchange.read, wall_clock=lambda: 1_000.0, steady_clock=lambda: steady[0], age_s=60.0, patience_s=0.01
        )
        assert await clock.now() == 1_000_000
        steady[0] += 61.0
        async with asyncio.timeout(10):
            assert await clock.now() == 1_061_000
            assert await clock.now(fresh=True) == 1_061_000
        assert exchange.asked == 3

        exchange.back.set()
        exchange.time = 1_122_500
        steady[0] += 61.0
        assert await clock.now() == 1_122_500, "it is asked again as soon as it answers"

    asyncio.run(ask())
