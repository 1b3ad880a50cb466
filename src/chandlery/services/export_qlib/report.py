"""What an export did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chandlery.domain.timeframe import UtcMs
from chandlery.services.export_qlib.fields import Losses

Outcome = Literal["new", "unchanged", "appended", "rewritten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReport:
    """One series as it stands in the folder.

    ``first`` and ``last`` are open times, UTC milliseconds. ``gaps`` counts the holes between them and ``missing`` the
    bars in them; ``without_turnover`` counts the candles whose turnover nobody told, so that they have no vwap.
    """

    exchange: str
    symbol: str
    timeframe: str
    freq: str
    first: UtcMs
    last: UtcMs
    candles: int
    gaps: int
    missing: int
    without_turnover: int
    losses: Losses


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """One export. ``why`` says what kept it from being an append, or is empty; ``size`` is in bytes."""

    folder: Path
    outcome: Outcome
    why: str
    series: list[SeriesReport]
    files: int
    size: int
    warnings: list[str]

    @property
    def candles(self) -> int:
        """Candles in all series."""
        return sum(series.candles for series in self.series)

    @property
    def losses(self) -> Losses:
        """The worst that float32 did to each field of any series."""
        worst = Losses()
        for series in self.series:
            worst.merge(series.losses)
        return worst
