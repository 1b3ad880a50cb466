"""How a step says that something is not as it has to be, and how it waits for something to happen."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 120.0


class Failed(Exception):
    """What is wrong, in a sentence."""


def require(holds: object, otherwise: str) -> None:
    """Raise Failed with a sentence unless something holds."""
    if not holds:
        raise Failed(otherwise)


def wait_until(condition: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Look now and then until it holds; raises Failed if it does not in time."""
    give_up = time.monotonic() + within_s
    while not condition():
        require(time.monotonic() < give_up, f"{what} did not come within {within_s:g} s")
        time.sleep(0.05)
