"""Imports without a database: the sink keeps in memory what a writer would store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.services.bulk_import.given import Told, find_sources
from chandlery.services.bulk_import.job import Job, SourceReport
from chandlery.storage.intake.records import Refused
from chandlery.storage.writer import Delivery, SaveResult

NOW = 1_790_000_000_000
"""2026-09-21 UTC."""


class Kept:
    """Keeps deliveries, and says of each that it is new."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.refused: list[Refused] = []

    def write(self, deliveries: Sequence[Delivery], refused: Sequence[Refused] = ()) -> SaveResult:
        self.deliveries += deliveries
        self.refused += refused
        return SaveResult(
            inserted=sum(len(delivery.batch) for delivery in deliveries),
            unchanged=sum(delivery.repeated for delivery in deliveries),
            rejected=len(refused) + sum(len(delivery.rejected or ()) for delivery in deliveries),
            rounded=sum(delivery.rounded for delivery in deliveries),
        )

    @property
    def candles(self) -> dict[Series, list[tuple[float, ...]]]:
        """The accepted candles of each series, by time."""
        found: dict[Series, list[tuple[float, ...]]] = {}
        for delivery in self.deliveries:
            found.setdefault(delivery.batch.series, []).extend(tuples(delivery.batch))
        return {series: sorted(rows) for series, rows in found.items() if rows}

    @property
    def rejected(self) -> list[tuple[str, str]]:
        """Text and reason of each rejected row."""
        rows = [
            row for d in self.deliveries if d.rejected for row in zip(d.rejected.raw, d.rejected.reason, strict=True)
        ]
        return [*rows, *((one.raw, one.reason) for one in self.refused)]


def tuples(batch: CandleBatch) -> list[tuple[float, ...]]:
    """Time and six values a candle; -1 for a turnover that is not told."""
    columns = [column.tolist() for column in batch.columns().values()]
    return [tuple(-1 if value != value else value for value in row) for row in zip(*columns, strict=True)]


def imported(path: Path, **words: Any) -> tuple[Kept, SourceReport]:
    """Import the one source at ``path``, with the words of the command line."""
    [source] = find_sources([str(path)])
    sink = Kept()
    job = Job(source, Told.of(**words), sink, now=NOW, verification=None, watch=lambda *_: None)
    return sink, job.run()
