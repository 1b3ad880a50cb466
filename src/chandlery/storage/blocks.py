"""Memory that is lent for the columns of a read, and lent again when nobody looks at it any more.

The system clears every page that it hands out, which costs a large read a tenth of its time or more, each time anew.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any

import numpy as np

from chandlery.domain.candle import FloatArray

_LEAST = 1_000_000
"""Doubles; less is cleared in no time."""
_MOST = 8_000_000
"""More is not kept: 64 MB, or 1.1 million candles with all columns."""
_AT_MOST_BLOCKS = 2
"""In ``frame = read()`` the frame before is seen until the new one is there."""


class Blocks:
    """A few blocks for those who read one thing after another."""

    def __init__(self) -> None:
        self._blocks: deque[_Block] = deque(maxlen=_AT_MOST_BLOCKS)
        self._lock = threading.Lock()

    def lend(self, rows: int, columns: int) -> FloatArray:
        """An array of so many rows and columns with anything in it, for its holder until the last view is gone."""
        size = rows * columns
        if not _LEAST <= size <= _MOST:
            return np.empty((rows, columns))
        with self._lock:
            free = next((block for block in self._blocks if block.suits(size)), None)
            if free is None:
                free = _Block(size)
                self._blocks.append(free)  # one that is pushed out lives on with what was lent of it
            return free.lend(size).reshape(rows, columns)

    def clear(self) -> None:
        """Keep nothing; what is lent stays as it is."""
        with self._lock:
            self._blocks.clear()


class _Block:
    def __init__(self, size: int) -> None:
        self._memory = np.empty(size)
        self._lent: weakref.ref[Any] | None = None

    def suits(self, size: int) -> bool:
        """Whether nobody sees it, and it is not so large that little data would keep it from others."""
        seen = self._lent is not None and self._lent() is not None
        return not seen and size <= self._memory.size <= 2 * size

    def lend(self, size: int) -> FloatArray:
        # all views of this array lead to it, and not to the memory that is kept
        lent = np.frombuffer(self._memory.data, count=size)
        self._lent = weakref.ref(lent)
        return lent
