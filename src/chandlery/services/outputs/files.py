"""Candles into CSV files, in which a span is covered if the candles are there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.services.roll_up import rolled_up_on_file
from chandlery.storage.writer import Delivery, SaveResult

if TYPE_CHECKING:
    from chandlery.storage.csv_files import CsvStore
    from chandlery.storage.pace import PaceLine

_CANDLES_IN_HAND = 6_000
"""Pages are joined up to this many candles before the file is touched."""


class CsvOutput:
    """One file a series: covered is what the file holds. Pages are joined before the file is touched."""

    oldest_first = True

    def __init__(self, store: CsvStore) -> None:
        self._store = store
        self._in_hand: dict[Series, list[CandleBatch]] = {}

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """Files need no catalogue."""

    def started(self, what: str) -> None:
        """Files remember no runs."""

    def ended(self, outcome: str, pages: int, result: SaveResult) -> None:
        """Files remember no runs."""

    def covered(self, series: Series) -> Spans:
        """The runs of candles on file."""
        return self._store.spans(series)

    def beginning(self, series: Series) -> UtcMs | None:
        """As noted beside the files."""
        return self._store.beginning(series)

    def remember_beginning(self, series: Series, begins_at: UtcMs) -> None:
        """Beside the files."""
        self._store.remember_beginning(series, begins_at)

    def remember_error(self, series: Series, error: Mapping[str, Any]) -> None:
        """Files remember none."""

    def claim(self, series: Series) -> contextlib.AbstractContextManager[bool]:  # noqa: ARG002
        """Files are locked while they are written; two collectors of one series merge."""
        return contextlib.nullcontext(True)

    def save(self, delivery: Delivery) -> SaveResult:
        """Take the page in hand; full hands are merged into the file."""
        series = delivery.batch.series
        pages = self._in_hand.setdefault(series, [])
        pages.append(delivery.batch)
        rejected = len(delivery.rejected) if delivery.rejected else 0
        if sum(map(len, pages)) < _CANDLES_IN_HAND:
            return SaveResult(rejected=rejected)
        return self._merge(series) + SaveResult(rejected=rejected)

    def roll_up(self, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
        """From one file into the other."""
        return rolled_up_on_file(self._store, series, finer, wanted)

    def finish(self, series: Series) -> SaveResult:
        """Merge what is in hand."""
        return self._merge(series)

    def take_slots(self, line: PaceLine, interval_s: float, count: int) -> float | None:  # noqa: ARG002
        """Files know of no other collector."""
        return None

    def give_up(self) -> None:
        """Files are waited for by nobody."""

    def take_heart(self) -> None:
        """Nothing was given up."""

    def _merge(self, series: Series) -> SaveResult:
        pages = self._in_hand.pop(series, [])
        ordered = sorted((page for page in pages if len(page)), key=lambda page: int(page.open_time[0]))
        counts = self._store.save(CandleBatch.joined(series, ordered))
        return SaveResult(inserted=counts.inserted, unchanged=counts.unchanged, revised=counts.revised)
