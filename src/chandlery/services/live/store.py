"""Where streamed candles go: the database, or nowhere but to whoever reads them."""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Spans
from chandlery.storage.deadline import attended
from chandlery.storage.writer import Delivery, SaveResult

T = TypeVar("T")


class LiveStore(Protocol):
    """A place that keeps candles and knows which spans it has. All methods block; call them from a thread."""

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """Take note of what the exchange lists."""
        ...

    def covered(self, series: Series) -> Spans:
        """The spans that need not be asked for again."""
        ...

    def save_all(self, deliveries: Sequence[Delivery]) -> SaveResult:
        """Store candles of several series: all of them or nothing."""
        ...

    def give_up(self) -> None:
        """Wait no longer for a store that is away: calls under way fail soon. Never blocks, callable at any time."""
        ...

    def take_heart(self) -> None:
        """Undo ``give_up``."""
        ...


class NoStore:
    """Keeps nothing: for those who read the candles as they come."""

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """Nothing is kept."""

    def covered(self, series: Series) -> Spans:  # noqa: ARG002
        """Nothing is known but what the stream tells."""
        return Spans()

    def save_all(self, deliveries: Sequence[Delivery]) -> SaveResult:
        """Every candle is new."""
        rejected = sum(len(one.rejected) for one in deliveries if one.rejected)
        return SaveResult(inserted=sum(len(one.batch) for one in deliveries), rejected=rejected)

    def give_up(self) -> None:
        """Nothing is waited for."""

    def take_heart(self) -> None:
        """Nothing was given up."""


class Lent:
    """A store on a database that its owner goes on using: to give it up ends our calls and nobody else's.

    A call under way is left to itself then. It may still commit, which does no harm: what is stored twice changes
    nothing.
    """

    def __init__(self, store: LiveStore) -> None:
        self._store = store
        self._given_up = threading.Event()

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """As the store does."""
        self._unless_given_up(self._store.prepare, instruments)

    def covered(self, series: Series) -> Spans:
        """As the store says."""
        return self._unless_given_up(self._store.covered, series)

    def save_all(self, deliveries: Sequence[Delivery]) -> SaveResult:
        """As the store does."""
        return self._unless_given_up(self._store.save_all, deliveries)

    def give_up(self) -> None:
        """Our calls under way fail soon; the database hears nothing of it."""
        self._given_up.set()

    def take_heart(self) -> None:
        """Our calls are waited for again."""
        self._given_up.clear()

    def _unless_given_up(self, work: Callable[..., T], *arguments: object) -> T:
        context = contextvars.copy_context()  # the thread knows what the error log is about
        return attended(
            lambda _: context.run(work, *arguments),
            longest_silence_s=math.inf,  # the database has limits of its own
            given_up=self._given_up,
            when_late=lambda _: None,
        )


class NothingKnown:
    """A store for readers of the stream: what others stored was never told to them, so it does not count as known."""

    def __init__(self, store: LiveStore) -> None:
        self._store = store
        self.prepare = store.prepare
        self.save_all = store.save_all
        self.give_up = store.give_up
        self.take_heart = store.take_heart

    def covered(self, series: Series) -> Spans:  # noqa: ARG002
        """Nothing is known but what the stream tells."""
        return Spans()
