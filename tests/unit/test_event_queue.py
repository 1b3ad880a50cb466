"""The queue of a stream: in order, bounded, and nothing lost that may not be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from chandlery.exchange.event_queue import EventQueue

Queue = EventQueue[str]


def run(most: int, act: Callable[[Queue], Awaitable[None]]) -> None:
    async def main() -> None:
        await act(EventQueue(most))

    asyncio.run(main())


def latest(text: str) -> Callable[[str | None], str]:
    return lambda _waiting: text


def test_events_come_in_the_order_in_which_they_were_put() -> None:
    async def act(queue: Queue) -> None:
        await queue.put("a")
        queue.put_latest("key", latest("b"))
        await queue.put("c")
        assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]

    run(10, act)


def test_of_events_with_one_key_only_the_latest_waits_at_its_own_place() -> None:
    async def act(queue: Queue) -> None:
        queue.put_latest("key", latest("old"))
        await queue.put("a")
        queue.put_latest("key", lambda waiting: f"newer than {waiting}")
        assert await queue.get_all() == ["a", "newer than old"]

    run(10, act)


def test_an_event_can_outdate_a_waiting_one() -> None:
    async def act(queue: Queue) -> None:
        queue.put_latest("key", latest("running"))
        queue.put_latest("other", latest("other"))
        await queue.put("closed", instead_of="key")
        assert await queue.get_all() == ["other", "closed"]

    run(10, act)


def test_a_writer_waits_while_the_queue_is_full_and_then_loses_nothing() -> None:
    async def act(queue: Queue) -> None:
        async def write(name: str) -> None:
            for number in range(50):
                await queue.put(f"{name}{number}")

        writers = [asyncio.create_task(write(name)) for name in "ab"]
        await asyncio.sleep(0.01)
        assert len(queue) == 3
        queue.put_latest("key", latest("running"))
        assert len(queue) == 4
        got = [await queue.get() for _ in range(101)]
        await asyncio.gather(*writers)
        assert sorted(got) == sorted([*(f"{name}{n}" for name in "ab" for n in range(50)), "running"])
        assert [text for text in got if text and text[0] == "a"] == [f"a{n}" for n in range(50)]

    run(3, act)


def test_a_reader_waits_for_the_first_event() -> None:
    async def act(queue: Queue) -> None:
        reader = asyncio.create_task(queue.get_all())
        await asyncio.sleep(0.01)
        assert not reader.done()
        await queue.put("a")
        assert await reader == ["a"]

    run(3, act)


def test_a_cancelled_reader_takes_nothing_along() -> None:
    async def act(queue: Queue) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.01)
        await queue.put("a")
        assert await queue.get() == "a"

    run(3, act)


def test_a_closed_queue_gives_what_it_has_and_then_nothing_and_holds_nobody() -> None:
    async def act(queue: Queue) -> None:
        await queue.put("a")
        blocked = asyncio.create_task(queue.put("b"))
        await asyncio.sleep(0)
        queue.close()
        await blocked
        assert await queue.get_all() == ["a", "b"]
        assert await queue.get_all() == []
        assert await queue.get() is None

    run(1, act)


def test_an_error_reaches_the_reader() -> None:
    async def act(queue: Queue) -> None:
        queue.close(RuntimeError("broken"))
        with pytest.raises(RuntimeError, match="broken"):
            await queue.get_all()

    run(1, act)
