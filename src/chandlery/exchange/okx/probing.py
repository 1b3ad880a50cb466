"""Where a history begins: a binary search over the grid of bars that asks one question again and again.

"Is there a candle older than this time?" has one answer up to the first candle and the other one after it, whatever
holes the history has, and so about log2 of the bars since 1970 (28 questions for one-minute bars) find the exact bar.

Whoever knows where the history of another timeframe begins knows where to look first. He need not be right: days of
BTC-USDT begin three months before its minutes. A guess only says which questions come first, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from chandlery.domain.span import Span
from chandlery.domain.timeframe import Timeframe, UtcMs

NewestBefore = Callable[[UtcMs | None], Awaitable[UtcMs | None]]
"""The open time of the newest candle older than a time (None: of all candles), or None if there is none."""


async def first_open_time(
    timeframe: Timeframe, newest_before: NewestBefore, guesses: Sequence[Span] = ()
) -> UtcMs | None:
    """The open time of the first candle there is, or None if there is none at all; it may open in one of ``guesses``.

    Where the search ends, "nothing older" must be said twice more: one wrong answer must not cost years of history.
    """
    edges = {time for guess in guesses for time in (guess.start, timeframe.ceil(guess.end))}
    first_looks = sorted({timeframe.ordinal(time) for time in edges})
    first: UtcMs | None = None
    while (older := await _asked_twice(newest_before, first)) is not None:
        first = await _oldest_from(timeframe, timeframe.ordinal(older), first_looks, newest_before)
    return first


async def _asked_twice(newest_before: NewestBefore, time: UtcMs | None) -> UtcMs | None:
    found = await newest_before(time)
    return await newest_before(time) if found is None else found


async def _oldest_from(
    timeframe: Timeframe, known: int, first_looks: Sequence[int], newest_before: NewestBefore
) -> UtcMs:
    """Bisect between the epoch and bar number ``known``, which holds a candle; at ``first_looks`` before elsewhere."""
    empty_before = timeframe.ordinal(0)
    while empty_before < known:
        inside = [bar for bar in first_looks if empty_before < bar <= known]
        middle = inside[len(inside) // 2] if inside else (empty_before + known + 1) // 2
        older = await newest_before(timeframe.open_at(middle))
        if older is None:
            empty_before = middle
        else:
            known = timeframe.ordinal(older)
    return timeframe.open_at(known)
