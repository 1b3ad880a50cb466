"""Live updates: what writers announce, heard by one thread, passed on to every open page as Server-Sent Events.

Nothing is lost when nobody listens: a page that was away asks for what came meanwhile, as it does where notifications
do not pass at all.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from chandlery.errors import DatabaseError
from chandlery.storage.announcements import Announcement, listen
from chandlery.web.answers import stored_answer

MOST_LISTENERS = 64
_WAITING = 256
_AGAIN_S = 2.0
_KEEP_ALIVE_S = 15.0
_MINUTE_S = 60.0


class Live:
    """Hears announcements from ``start`` to ``stop``; pages subscribe on the event loop."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._pages: set[asyncio.Queue[str | None]] = set()
        self._stopped = threading.Event()
        self._heard: deque[tuple[float, int]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.listening = False

    def start(self) -> None:
        """Begin to listen; on the event loop."""
        self._loop = asyncio.get_running_loop()
        # it waits in the driver, so nothing may wait for it when the program ends
        threading.Thread(target=self._listen, name="chandlery-listen", daemon=True).start()

    def stop(self) -> None:
        """Pass nothing on any more, and let every page go."""
        self._stopped.set()
        for page in self._pages:
            if page.full():
                page.get_nowait()
            page.put_nowait(None)

    @property
    def full(self) -> bool:
        """Whether so many pages are open that no further one is served."""
        return len(self._pages) >= MOST_LISTENERS

    def heard_in_last_minute(self) -> int:
        """How many candles were announced in the last minute."""
        self._forget()
        return sum(count for _, count in self._heard)

    async def events(self) -> AsyncIterator[str]:
        """Events in the format of the protocol, for one page, until ``stop``."""
        with self._subscribed() as page:
            event: str | None = _event("listening", self.listening)
            while event is not None:
                yield event
                try:
                    event = await asyncio.wait_for(page.get(), _KEEP_ALIVE_S)
                except TimeoutError:
                    event = ": still here\n\n"

    @contextmanager
    def _subscribed(self) -> Iterator[asyncio.Queue[str | None]]:
        page: asyncio.Queue[str | None] = asyncio.Queue(_WAITING)
        self._pages.add(page)
        try:
            yield page
        finally:
            self._pages.discard(page)

    def _listen(self) -> None:
        while not self._stopped.is_set():
            with suppress(DatabaseError):
                told = listen(self._conninfo)
                self._post(self._turned, True)
                for announcement in told:
                    self._post(self._stored, announcement)
            self._post(self._turned, False)
            self._stopped.wait(_AGAIN_S)

    def _post(self, what: Any, value: object) -> None:
        if self._loop is not None and not self._stopped.is_set():
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(what, value)

    def _turned(self, listening: bool) -> None:
        self.listening = listening
        self._send(_event("listening", listening))

    def _stored(self, told: Announcement) -> None:
        self._heard.append((time.monotonic(), told.inserted))
        self._forget()  # here too, for there may be no page that ever asks
        self._send(_event("stored", stored_answer(told)))

    def _forget(self) -> None:
        oldest = time.monotonic() - _MINUTE_S
        while self._heard and self._heard[0][0] < oldest:
            self._heard.popleft()

    def _send(self, event: str) -> None:
        for page in self._pages:
            with suppress(asyncio.QueueFull):  # a page that sleeps asks for everything when it wakes
                page.put_nowait(event)


def _event(name: str, value: object) -> str:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"
