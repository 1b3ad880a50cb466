"""Pages: how spans become requests, and whether an answer fits its request. Arithmetic on the grid of bars only.

OKX answers newest first and takes exclusive bounds: ``after=T`` means older than T, ``before=T`` newer than T. Bars lie
on a known grid, so every page is told both bounds beforehand, depends on no other page, and may be asked in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import MINUTE_MS, IntArray, Timeframe, UtcMs
from chandlery.errors import BadPage

LARGEST_PAGE = 300
"""Rows that OKX returns at most, from both candle endpoints."""
RECENT_BARS = 1440
"""How many bars back the endpoint for recent candles reaches."""
RECENT_MARGIN = 10
"""Bars at the far end of that reach that are asked of the history instead."""
HISTORY_LAG_MS = 3 * MINUTE_MS
"""For this long after its close a candle may be absent from an answer and still appear later."""

_FOR_EVER = 2**63 - 1


def pages(timeframe: Timeframe, missing: Spans, page_size: int = LARGEST_PAGE) -> Iterator[Span]:
    """The whole bars of ``missing``, newest first, in spans of at most ``page_size`` bars."""
    for span in reversed(tuple(missing)):
        aligned = timeframe.aligned(span)
        if aligned is None:
            continue
        first, end = timeframe.ordinal(aligned.start), timeframe.ordinal(aligned.end)
        for last in range(end, first, -page_size):
            yield Span(timeframe.open_at(max(first, last - page_size)), timeframe.open_at(last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The bounds of one request: rows older than ``after``, newer than ``before`` (UTC ms), ``page_size`` at most."""

    after: UtcMs
    before: UtcMs
    page_size: int

    @classmethod
    def of(cls, timeframe: Timeframe, span: Span) -> Window:
        """The request that asks for the bars of ``span`` and no others; ``span`` is one that ``pages`` could give."""
        bars = timeframe.count(span)
        if timeframe.aligned(span) != span or bars > LARGEST_PAGE:
            raise ValueError(f"one request holds 1 to {LARGEST_PAGE} whole bars, not [{span.start}, {span.end})")
        return cls(after=span.end, before=span.start - 1, page_size=bars)


def is_recent(timeframe: Timeframe, span: Span, now: UtcMs) -> bool:
    """Whether the endpoint for recent candles reaches back over the whole of ``span``, with a margin."""
    return span.start >= timeframe.shift(now, RECENT_MARGIN - RECENT_BARS)


def check(timeframe: Timeframe, asked: Span, open_time: IntArray) -> None:
    """Raise BadPage where the rows of an answer (their open times as sent) contradict the request for ``asked``."""
    if len(open_time) > timeframe.count(asked):
        raise _contradiction(timeframe, asked, f"{len(open_time)} rows instead of {timeframe.count(asked)} at most")
    outside = (open_time < asked.start) | (open_time >= asked.end)
    if outside.any():
        stranger = open_time[outside][0]
        raise _contradiction(timeframe, asked, f"{outside.sum()} rows outside of it, the first at {stranger}")
    if (np.diff(open_time) >= 0).any():
        raise _contradiction(timeframe, asked, "rows twice or not newest first")


def holes(timeframe: Timeframe, asked: Span, open_time: IntArray) -> Spans:
    """The bars of ``asked`` in which no row opens. A row off the grid fills its bar: it is there, if unusable."""
    grid = np.arange(timeframe.ordinal(asked.start), timeframe.ordinal(asked.end), dtype=np.int64)
    absent = np.setdiff1d(grid, timeframe.ordinal(open_time))
    if not len(absent):
        return Spans()
    breaks = np.flatnonzero(np.diff(absent) != 1)
    firsts = timeframe.open_at(absent[np.concatenate(([0], breaks + 1))])
    ends = timeframe.open_at(absent[np.concatenate((breaks, [len(absent) - 1]))] + 1)
    return Spans(Span(int(first), int(end)) for first, end in zip(firsts, ends, strict=True))


def settled_until(timeframe: Timeframe, now: UtcMs) -> UtcMs:
    """The open time from which on a missing row proves nothing: these bars closed a moment ago, or not yet."""
    return timeframe.floor(now - HISTORY_LAG_MS)


def before(time: UtcMs, spans: Spans) -> Spans:
    """The part of ``spans`` before ``time``."""
    return spans - since(time, spans)


def since(time: UtcMs, spans: Spans) -> Spans:
    """The part of ``spans`` from ``time`` on."""
    return spans & Spans([Span(time, _FOR_EVER)])


def _contradiction(timeframe: Timeframe, asked: Span, found: str) -> BadPage:
    return BadPage(
        f"OKX was asked for {timeframe} candles in [{asked.start}, {asked.end}) and sent {found}.",
        hint="Nothing of this page was kept; it will be asked for again.",
    )
