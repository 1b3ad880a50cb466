"""The two ways to end a command that runs on: when its work is whole, and at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from chandlery.cli.screen import note


def stop_on_signals(
    stop: Callable[[], None], *, what: str = "Stopping after the pages under way", tell: Callable[[str], None] = note
) -> asyncio.Event:
    """The first Ctrl-C or SIGTERM stops cleanly, a second one at once; the event tells whether one came."""
    interrupted = asyncio.Event()

    def interrupt() -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        tell(f"{what}; press Ctrl-C again to stop at once.")
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    return interrupted
