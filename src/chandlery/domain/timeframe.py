"""Timeframes: when a bar opens, when the next one does, and how many fit in between.

Every timeframe numbers its bars: ``ordinal`` turns a time into the number of the bar that contains it and
``open_at`` turns the number back into the bar's open time. All other bar arithmetic follows from these two, for
fixed steps and for calendar months alike.

Times are integers, milliseconds since 1970-01-01 UTC; every function takes one of them or an array of them.
Bars align with UTC; weeks open on Monday.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from chandlery.domain.span import Span
from chandlery.errors import DataValidationError

UtcMs = int
"""A time: milliseconds since 1970-01-01 UTC."""

IntArray = npt.NDArray[np.int64]

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
_FIRST_MONDAY_MS = 4 * DAY_MS


@dataclass(frozen=True, slots=True)
class Timeframe:
    """The length of a bar.

    ``step_ms`` is the length in milliseconds, None for a calendar month; ``anchor_ms`` is the open time of bar 0.
    """

    name: str
    step_ms: int | None
    anchor_ms: UtcMs = 0

    def __str__(self) -> str:
        return self.name

    @overload
    def ordinal(self, time: UtcMs) -> int: ...
    @overload
    def ordinal(self, time: IntArray) -> IntArray: ...
    def ordinal(self, time: UtcMs | IntArray) -> int | IntArray:
        """The number of the bar that contains ``time``."""
        if self.step_ms is not None:
            return (time - self.anchor_ms) // self.step_ms
        months = np.asarray(time, "int64").astype("M8[ms]").astype("M8[M]").astype("int64")
        return months if isinstance(time, np.ndarray) else int(months)

    @overload
    def open_at(self, ordinal: int) -> UtcMs: ...
    @overload
    def open_at(self, ordinal: IntArray) -> IntArray: ...
    def open_at(self, ordinal: int | IntArray) -> UtcMs | IntArray:
        """The open time of bar number ``ordinal``."""
        if self.step_ms is not None:
            return ordinal * self.step_ms + self.anchor_ms
        opens = np.asarray(ordinal, "int64").astype("M8[M]").astype("M8[ms]").astype("int64")
        return opens if isinstance(ordinal, np.ndarray) else int(opens)

    @overload
    def floor(self, time: UtcMs) -> UtcMs: ...
    @overload
    def floor(self, time: IntArray) -> IntArray: ...
    def floor(self, time: UtcMs | IntArray) -> UtcMs | IntArray:
        """The open time of the bar that contains ``time``."""
        return self.open_at(self.ordinal(time))

    @overload
    def close_of(self, open_time: UtcMs) -> UtcMs: ...
    @overload
    def close_of(self, open_time: IntArray) -> IntArray: ...
    def close_of(self, open_time: UtcMs | IntArray) -> UtcMs | IntArray:
        """The close time (exclusive) of the bar that contains ``open_time``: the next bar's open time."""
        return self.open_at(self.ordinal(open_time) + 1)

    def ceil(self, time: UtcMs) -> UtcMs:
        """The first open time at or after ``time``."""
        floor = self.floor(time)
        return floor if floor == time else self.close_of(time)

    def shift(self, open_time: UtcMs, bars: int) -> UtcMs:
        """The open time ``bars`` bars after (or, if negative, before) the bar that contains ``open_time``."""
        return self.open_at(self.ordinal(open_time) + bars)

    def made_of(self, finer: Timeframe) -> bool:
        """Whether every bar is a whole number of ``finer``'s bars: 1h of 5m, 1M of 1d, but not 1M of 1w."""
        if finer == self:
            return True
        if finer.step_ms is None or DAY_MS % finer.step_ms:
            return False
        return (self.step_ms or DAY_MS) % finer.step_ms == 0

    def aligned(self, span: Span) -> Span | None:
        """The whole bars inside ``span``, or None if it holds none."""
        start, end = self.ceil(span.start), self.floor(span.end)
        return Span(start, end) if start < end else None

    def count(self, span: Span) -> int:
        """How many whole bars lie in ``span``."""
        return max(0, self.ordinal(span.end) - self.ordinal(self.ceil(span.start)))

    def grid(self, span: Span) -> IntArray:
        """The open times of the whole bars in ``span``, ascending."""
        first = self.ordinal(self.ceil(span.start))
        return self.open_at(np.arange(first, max(first, self.ordinal(span.end)), dtype=np.int64))


_ALL = (
    *(Timeframe(f"{n}m", n * MINUTE_MS) for n in (1, 3, 5, 15, 30)),
    *(Timeframe(f"{n}h", n * HOUR_MS) for n in (1, 2, 4, 6, 12)),
    Timeframe("1d", DAY_MS),
    Timeframe("1w", 7 * DAY_MS, anchor_ms=_FIRST_MONDAY_MS),
    Timeframe("1M", None),
)
TIMEFRAMES: dict[str, Timeframe] = {timeframe.name: timeframe for timeframe in _ALL}
"""Every supported timeframe by name, from the shortest to the longest."""


def timeframe(name: str) -> Timeframe:
    """The timeframe called ``name``; case matters, because ``1m`` is a minute and ``1M`` a month.

    Raises DataValidationError for any other name, with the list of those that exist.
    """
    found = TIMEFRAMES.get(name)
    if found is not None:
        return found
    other_case = [known for known in TIMEFRAMES if known.lower() == str(name).lower()]
    meant = f" Did you mean {other_case[-1]!r}?" if other_case else ""
    raise DataValidationError(f"{name!r} is not a timeframe.{meant}", hint=f"Use one of {', '.join(TIMEFRAMES)}.")
