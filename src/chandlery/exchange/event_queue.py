"""The events of a stream on their way to its reader: in order, and never more of them than fit.

Two sorts of events: those of which only the latest matters, which replace a waiting one of the same key, and all
others, whose writers wait while the queue is full. So memory is bounded by the settings and the number of series.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class EventQueue(Generic[T]):
    """A queue for one reader and many writers in one event loop; ``most_waiting`` bounds the events that are kept."""

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._waiting: dict[Hashable, T] = {}
        self._latest: set[Hashable] = set()
        self._kept = 0
        self._some, self._room = asyncio.Event(), asyncio.Event()
        self._closed = False
        self._error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def put(self, event: T, *, instead_of: Hashable = None) -> None:
        """Add an event that must not be lost, in due time; it outdates a waiting one of the key ``instead_of``."""
        while len(self._waiting) - len(self._latest) >= self._most_waiting and not self._closed:
            self._room.clear()
            await self._room.wait()
        self._drop(instead_of)
        self._kept += 1
        self._waiting[self._kept] = event
        self._some.set()

    def put_latest(self, key: Hashable, make: Callable[[T | None], T]) -> None:
        """Add what ``make`` makes of the waiting event of this key, None for none; it takes that event's place."""
        event = make(self._waiting.get(key))
        self._drop(key)
        self._latest.add(key)
        self._waiting[key] = event
        self._some.set()

    async def get(self) -> T | None:
        """The oldest event, waiting for one if need be; None once the queue is closed."""
        await self._any()
        if not self._waiting:
            return None
        key = next(iter(self._waiting))
        event = self._waiting.pop(key)
        self._latest.discard(key)
        self._taken()
        return event

    async def get_all(self) -> list[T]:
        """All events, oldest first, waiting for one if need be; empty once the queue is closed."""
        await self._any()
        events = list(self._waiting.values())
        self._waiting.clear()
        self._latest.clear()
        self._taken()
        return events

    def close(self, error: BaseException | None = None) -> None:
        """No more events come: readers and writers wait no longer, and readers get ``error`` if there is one."""
        self._closed, self._error = True, self._error or error
        self._some.set()
        self._room.set()

    async def _any(self) -> None:
        await self._some.wait()
        if self._error is not None:
            raise self._error

    def _taken(self) -> None:
        self._room.set()
        if not self._waiting and not self._closed:
            self._some.clear()

    def _drop(self, key: Hashable) -> None:
        if key in self._latest:
            self._latest.remove(key)
            del self._waiting[key]
