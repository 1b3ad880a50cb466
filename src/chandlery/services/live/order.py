"""Candles in the order of time: one that came before its predecessors waits until these are known."""

from __future__ import annotations

from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs
from chandlery.storage.writer import Delivery


class InOrder:
    """Lets the candles of one series through in order, each once, from ``begins_at`` on, an open time."""

    def __init__(self, begins_at: UtcMs) -> None:
        self._next = begins_at
        self._known = Spans()
        self._waiting: list[CandleBatch] = []

    def let_through(self, delivery: Delivery) -> list[CandleBatch]:
        """The candles that follow without a hole on what was let through before, now that ``delivery`` is known."""
        until = self._known_until(delivery.covered)
        ready: list[CandleBatch] = []
        waiting: list[CandleBatch] = []
        for batch in sorted([*self._waiting, delivery.batch], key=_first):
            due = batch.take((batch.open_time >= self._next) & (batch.open_time < until))
            later = batch.take(batch.open_time >= until)
            if len(due):
                ready.append(due)
                self._next = batch.series.timeframe.close_of(int(due.open_time[-1]))
            if len(later):
                waiting.append(later)
        self._next, self._waiting = until, waiting
        return ready

    def _known_until(self, covered: Spans) -> UtcMs:
        """The end of the span of knowledge that reaches back to where the last one ended."""
        self._known = (self._known | covered) & Spans([Span(self._next, 2**62)])
        for span in self._known:
            if span.start == self._next:
                return span.end
        return self._next


def _first(batch: CandleBatch) -> UtcMs:
    return int(batch.open_time[0]) if len(batch) else 0
