"""``chandlery.chart``: candles that show themselves as a chart in a notebook, and as characters elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.rules import judge
from chandlery.domain.timeframe import TIMEFRAMES, IntArray, Timeframe, timeframe
from chandlery.errors import DataValidationError
from chandlery.services.drawing.characters import drawn, room_for_candles
from chandlery.services.drawing.slots import Slots
from chandlery.services.drawing.svg import MOST_SLOTS, svg
from chandlery.storage.candles import Candles

if TYPE_CHECKING:
    import pandas as pd

_WIDTH, _HEIGHT = 100, 24


class Chart:
    """Candles of one series, drawn when somebody looks: SVG in Jupyter, characters in a terminal."""

    def __init__(self, candles: CandleBatch, title: str) -> None:
        self.candles = candles
        self.title = title

    def __repr__(self) -> str:
        if not len(self.candles):
            return f"{self.title}: no candles"
        lines = drawn(Slots.newest(self.candles, room_for_candles(_WIDTH)), _WIDTH, _HEIGHT)
        return "\n".join([self.title, *("".join(text for text, _ in line).rstrip() for line in lines)])

    def _repr_svg_(self) -> str | None:
        """All candles, in as many bars as can be told apart."""
        return svg(Slots.all(self.candles, MOST_SLOTS), self.title) if len(self.candles) else None

    def _repr_html_(self) -> str | None:
        drawing = self._repr_svg_()
        return None if drawing is None else f"<div>{drawing}</div>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows and keeps; it picks what suits it."""
        kinds = {"text/html": self._repr_html_(), "image/svg+xml": self._repr_svg_(), "text/plain": repr(self)}
        wanted = {kind for kind in kinds if (not include or kind in include) and kind not in (exclude or ())}
        return {kind: text for kind, text in kinds.items() if kind in wanted and text is not None}


def chart(
    candles: pd.DataFrame | Candles | CandleBatch, interval: str | None = None, *, title: str | None = None
) -> Chart:
    """A chart of candles that a storage gave: ``candles``, ``get_candles``, ``get_ohlcv_data``, or any such frame.

    ``interval`` is the timeframe of a frame, None for the one that its times suggest. Jupyter shows what this returns
    as the last line of a cell. Rows that break a rule are left out. Raises DataValidationError for a frame that cannot
    be understood, and where no timeframe fits.
    """
    if isinstance(candles, Candles):
        candles = candles.batch
    if isinstance(candles, CandleBatch):
        series = candles.series
        return Chart(candles, f"{series.symbol} {series.timeframe}" if title is None else title)
    batch = _understood(candles, None if interval is None else timeframe(interval))
    return Chart(batch, batch.series.timeframe.name if title is None else title)


def _understood(frame: pd.DataFrame, bar: Timeframe | None) -> CandleBatch:
    from chandlery.storage.intake.frames import rows_from_frame

    shortest = next(iter(TIMEFRAMES.values()))
    given = rows_from_frame(frame, Series("-", "-", bar or shortest)).rows
    if bar is None:
        series = Series("-", "-", _suggested(given.open_time))
        given = type(given).of(series, given.columns())
    return judge(given, now=time.time_ns() // 1_000_000, raw=str).accepted


def _suggested(open_time: IntArray) -> Timeframe:
    """The longest timeframe in which all these times open bars of their own."""
    times = np.unique(open_time)
    for bar in reversed(TIMEFRAMES.values()):
        if len(times) > 1 and np.array_equal(bar.floor(times), times):
            return bar
    raise DataValidationError("the timeframe of this frame cannot be told.", hint="Name it, as in chart(frame, '1h').")
