"""What the rest of chandlery needs from an exchange that pushes its candles, whichever it is.

A stream tells what it knows as events, in the order in which it learnt them. It is no proof of completeness: a push
may be lost, and while a connection is away nothing is pushed at all. So whoever stores candles reads the tail of a
series through a CandleSource at every ``Subscribed``, and again a little after each close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from chandlery.domain.candle import CandleRows, RawText
from chandlery.domain.instrument import Series
from chandlery.errors import ExchangeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pushed:
    """Candles of one series, ascending, nothing proved.

    ``confirmed`` tells that all of them have closed; else they are the latest state of a candle that is still open.
    ``raw(i)`` is the exchange's own text of row i. ``received_s`` is when they arrived, on the clock of the stream,
    by default ``time.monotonic``.
    """

    series: Series
    rows: CandleRows
    confirmed: bool
    raw: RawText
    received_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """From now on these series are pushed, some from a moment before. What closed earlier is not: it has to be read
    from a CandleSource.

    ``again`` tells that they were subscribed before and lost.
    """

    series: tuple[Series, ...]
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A connection is gone, or could not be made at the start: none of these series is pushed until ``Subscribed``.

    It comes once for each loss, not for every attempt to connect again.
    """

    series: tuple[Series, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The exchange does not push this one series. It is asked for again whenever its connection is made anew."""

    series: Series
    error: ExchangeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Messages that were not the exchange's protocol and were passed over.

    ``count`` of them came since the last event of this kind; ``reason`` and ``text``, cut and printable, are of the
    last one.
    """

    count: int
    reason: str
    text: str


StreamEvent = Pushed | Subscribed | Lost | Refused | Unreadable


class CandleStream(Protocol):
    """An exchange that pushes candles; used with ``async with``, read by one task.

    It connects again for ever. Memory stays flat however slow its reader is: of running candles the latest of each
    series waits, and when too many other events wait, the connections are no longer read. Nothing confirmed is dropped.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def batch(self) -> Sequence[StreamEvent]:
        """All events that wait, oldest first; it waits for the first one. Empty once the stream is closed."""
        ...

    def __aiter__(self) -> Self:
        """The events one by one, until the stream is closed."""
        ...

    async def __anext__(self) -> StreamEvent: ...
