"""What is done with judged candles: they are stored, or compared with what is stored, in one of two ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from chandlery.domain.candle import VALUE_COLUMNS, CandleBatch, nothing_new
from chandlery.storage.intake.records import Refused
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery, SaveResult

_BARS_AT_ONCE = 100_000
"""A sparse batch may span years: no more than so many bars of what is stored are in memory."""


class Sink(Protocol):
    """Takes deliveries, as the writer does."""

    def write(self, deliveries: Sequence[Delivery], refused: Sequence[Refused] = ()) -> SaveResult:
        """What became, or would become, of them."""
        ...


class Comparison:
    """Says what the writer would say, and writes nothing."""

    def __init__(self, storage: PostgreSQLStorage) -> None:
        self._storage = storage

    def write(self, deliveries: Sequence[Delivery], refused: Sequence[Refused] = ()) -> SaveResult:
        """The counts that storing these would give."""
        result = SaveResult(rejected=len(refused))
        for delivery in deliveries:
            result += SaveResult(
                unchanged=delivery.repeated,
                rejected=len(delivery.rejected) if delivery.rejected else 0,
                rounded=delivery.rounded,
            )
            for part, stored in _beside_stored(self._storage, delivery.batch):
                there = np.isin(part.open_time, stored.open_time, assume_unique=True)
                known = stored.take(np.isin(stored.open_time, part.open_time, assume_unique=True))
                same = int(nothing_new(part.take(there), known).sum())
                found = int(there.sum())
                result += SaveResult(inserted=len(part) - found, unchanged=same, revised=found - same)
        return result


class Verification:
    """Counts, column by column, where what is stored differs from what was accepted."""

    def __init__(self, storage: PostgreSQLStorage) -> None:
        self._storage = storage
        self.compared = 0
        self.differences: Counter[str] = Counter()

    def write(self, deliveries: Sequence[Delivery], refused: Sequence[Refused] = ()) -> SaveResult:  # noqa: ARG002
        """Compare; the counts are kept here."""
        for delivery in deliveries:
            for part, stored in _beside_stored(self._storage, delivery.batch):
                there = np.isin(part.open_time, stored.open_time, assume_unique=True)
                known = stored.take(np.isin(stored.open_time, part.open_time, assume_unique=True))
                self.compared += len(part)
                self._count("not stored", int((~there).sum()))
                self._compare(part.take(there), known)
        return SaveResult()

    def _compare(self, accepted: CandleBatch, stored: CandleBatch) -> None:
        for name in VALUE_COLUMNS:
            ours, theirs = getattr(accepted, name), getattr(stored, name)
            differs = ours != theirs
            if name == "quote_volume":  # a source that is silent contradicts nobody
                differs &= ~np.isnan(ours)
            self._count(name, int(differs.sum()))

    def _count(self, what: str, rows: int) -> None:
        if rows:
            self.differences[what] += rows


def _beside_stored(storage: PostgreSQLStorage, batch: CandleBatch) -> Iterator[tuple[CandleBatch, CandleBatch]]:
    """The batch in parts, each with all that is stored in its span."""
    numbers = batch.series.timeframe.ordinal(batch.open_time) // _BARS_AT_ONCE
    edges = np.flatnonzero(np.diff(numbers)) + 1
    for rows in np.split(np.arange(len(batch)), edges):
        part = batch.take(rows)
        if part.span is not None:
            yield part, storage.reader.candles(batch.series, part.span)
