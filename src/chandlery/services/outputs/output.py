"""What the collector asks of any place that keeps candles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.storage.coverage import Claim
from chandlery.storage.writer import Delivery, SaveResult

if TYPE_CHECKING:
    from chandlery.storage.pace import PaceLine


class Output(Protocol):
    """A place that keeps candles and knows which spans it has. All methods block; call them from a thread."""

    oldest_first: bool
    """Whether it is cheaper to be given a series from its beginning."""

    def prepare(self, instruments: Sequence[Instrument]) -> None:
        """Take note of what the exchange lists."""
        ...

    def started(self, what: str) -> None:
        """Note that a collection starts."""
        ...

    def ended(self, outcome: str, pages: int, result: SaveResult) -> None:
        """Note how the collection ended that was started last."""
        ...

    def covered(self, series: Series) -> Spans:
        """The spans that need not be asked for again."""
        ...

    def beginning(self, series: Series) -> UtcMs | None:
        """The proved start of history, if it is remembered."""
        ...

    def remember_beginning(self, series: Series, begins_at: UtcMs) -> None:
        """Keep the proved start of history."""
        ...

    def remember_error(self, series: Series, error: Mapping[str, Any]) -> None:
        """Keep what went wrong with a series."""
        ...

    def claim(self, series: Series) -> contextlib.AbstractContextManager[Claim | bool]:
        """Take the series for this collector: true as long as it has it, false if another one does."""
        ...

    def save(self, delivery: Delivery) -> SaveResult:
        """Store a page: all of it or nothing."""
        ...

    def roll_up(self, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
        """Make what is not covered in ``wanted`` of the finer candles that are kept, where they are whole; by steps."""
        ...

    def finish(self, series: Series) -> SaveResult:
        """No more of this series comes now: nothing may stay in memory only; what that stored."""
        ...

    def take_slots(self, line: PaceLine, interval_s: float, count: int) -> float | None:
        """Take ``count`` slots of a pace that collectors share: in how many seconds the first is.

        None if no such pace is kept.
        """
        ...

    def give_up(self) -> None:
        """Wait no longer for a store that is away: calls under way fail soon. Never blocks, callable at any time."""
        ...

    def take_heart(self) -> None:
        """Undo ``give_up``."""
        ...
