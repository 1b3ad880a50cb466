"""Outputs and stores that measure what passes through them to the real ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import Timeframe
from chandlery.services.live.store import LiveStore
from chandlery.services.outputs import Output
from chandlery.storage.writer import Delivery, SaveResult

if TYPE_CHECKING:
    from chandlery.services.metrics.measured import Measured


class MeasuredOutput:
    """An output of a collection."""

    def __init__(self, output: Output, measured: Measured) -> None:
        self._output = output
        self._measured = measured
        self.oldest_first = output.oldest_first
        self.prepare = output.prepare
        self.started = output.started
        self.covered = output.covered
        self.beginning = output.beginning
        self.remember_beginning = output.remember_beginning
        self.remember_error = output.remember_error
        self.claim = output.claim
        self.take_slots = output.take_slots
        self.give_up = output.give_up
        self.take_heart = output.take_heart

    def save(self, delivery: Delivery) -> SaveResult:
        """Store a page, counted and timed."""
        began = time.perf_counter()
        result = self._output.save(delivery)
        self._measured.wrote(result, time.perf_counter() - began)
        return result

    def roll_up(self, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
        """Make coarser candles, counted apart from those that were fetched."""
        for result in self._output.roll_up(series, finer, wanted):
            self._measured.wrote(result, derived=True)
            yield result

    def finish(self, series: Series) -> SaveResult:
        """What was in hand still counts too."""
        result = self._output.finish(series)
        self._measured.wrote(result)
        return result

    def ended(self, outcome: str, pages: int, result: SaveResult) -> None:
        """Note how the collection ended."""
        self._output.ended(outcome, pages, result)
        self._measured.ended(outcome)


class MeasuredStore:
    """A store of a stream."""

    def __init__(self, store: LiveStore, measured: Measured) -> None:
        self._store = store
        self._measured = measured
        self.prepare = store.prepare
        self.covered = store.covered
        self.give_up = store.give_up
        self.take_heart = store.take_heart

    def save_all(self, deliveries: Sequence[Delivery]) -> SaveResult:
        """Store a batch, counted and timed."""
        began = time.perf_counter()
        result = self._store.save_all(deliveries)
        self._measured.wrote(result, time.perf_counter() - began)
        return result
