"""What is handed to the writer, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chandlery.domain.candle import CandleBatch, Rejected
from chandlery.domain.span import Spans

RevisionPolicy = Literal["replace", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveResult:
    """What became of candles that were handed over; true if there was nothing to store or something is stored.

    ``inserted`` are new, ``unchanged`` were there with the same values, ``revised`` were there with other values,
    ``rejected`` broke a rule and were set aside. ``rounded`` counts rows with a number of more digits than a double
    holds: they are stored, as the nearest double.
    """

    inserted: int = 0
    unchanged: int = 0
    revised: int = 0
    rejected: int = 0
    rounded: int = 0

    def __bool__(self) -> bool:
        return self.stored > 0 or self.rejected == 0

    def __add__(self, other: SaveResult) -> SaveResult:
        return SaveResult(
            inserted=self.inserted + other.inserted,
            unchanged=self.unchanged + other.unchanged,
            revised=self.revised + other.revised,
            rejected=self.rejected + other.rejected,
            rounded=self.rounded + other.rounded,
        )

    @property
    def stored(self) -> int:
        """How many of the candles handed over are in the database now."""
        return self.inserted + self.unchanged + self.revised


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """Candles of one series to store, the spans for which they are proof, and the rows set aside on the way.

    ``derived`` candles were made of finer ones that are stored; only ``Writer.derive`` makes such deliveries.
    """

    batch: CandleBatch
    covered: Spans
    rejected: Rejected | None = None
    repeated: int = 0
    rounded: int = 0
    derived: bool = False
