"""The newest part of one series while it is streamed: what must be complete, what is, and what was seen last."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import DAY_MS, UtcMs
from chandlery.exchange.stream import Pushed

LOOK_BACK_MS = 30 * DAY_MS
"""At the start holes this far back are healed too: a stream that was killed may have left some.

A stream that starts after an outage stores the newest candles first. If it is killed before it has healed the rest, the
hole is as long as the outage was, and nothing tells it from one that somebody left on purpose long ago: so there is a
bound, and it is longer than the outages that happen.
"""

_A_MINUTE_S = 60.0


@dataclass(slots=True, kw_only=True)
class Tail:
    """One series. Complete means that every bar from ``begins_at`` to the last closed one is in ``known``.

    ``price`` is the newest close, of a running candle too, and ``seen_s`` is when it came, on the clock of the stream.
    ``pushed`` tells that the exchange pushes the series now.
    """

    instrument: Instrument
    series: Series
    begins_at: UtcMs
    known: Spans
    pushed: bool = False
    price: float | None = None
    seen_s: float | None = None
    stored: int = 0
    healed: int = 0
    _stored_at: deque[tuple[float, int]] = field(default_factory=deque)

    def missing(self, now: UtcMs) -> Spans:
        """The bars that have closed by ``now``, UTC milliseconds, and are not known."""
        end = self.series.timeframe.floor(now)
        return Spans([Span(self.begins_at, end)]) - self.known if self.begins_at < end else Spans()

    def saw(self, pushed: Pushed) -> None:
        """Take note of a push."""
        if len(pushed.rows):
            self.price = float(pushed.rows.close[-1])
        self.seen_s = pushed.received_s

    def learnt(self, known: Spans, candles: int, now_s: float) -> None:
        """So many candles were committed, and these spans with them."""
        self.known |= known
        self.stored += candles
        self._stored_at.append((now_s, candles))
        self._forget(now_s)  # here too, for whoever reads a stream may never ask

    def candles_a_minute(self, now_s: float) -> int:
        """Candles committed in the last minute."""
        self._forget(now_s)
        return sum(count for _, count in self._stored_at)

    def _forget(self, now_s: float) -> None:
        while self._stored_at and self._stored_at[0][0] < now_s - _A_MINUTE_S:
            self._stored_at.popleft()


def begins_at(series: Series, covered: Spans, now: UtcMs, since: UtcMs | None) -> UtcMs:
    """From where on a series must be complete, an open time.

    ``since`` if it is given. Else the end of what is covered, or ``LOOK_BACK_MS`` ago if that is earlier, so that the
    holes of a killed stream are found; yet nothing before the first covered bar, and for a new series nothing before
    the bar that is open now: the rest of history is the affair of a collection.
    """
    timeframe = series.timeframe
    if since is not None:
        return timeframe.ceil(since)
    hull = covered.hull
    if hull is None:
        return timeframe.floor(now)
    return max(hull.start, min(hull.end, timeframe.floor(now - LOOK_BACK_MS)))
