"""The exchange's bars: ``1m``, ``4H``, ``1D``, ``1Dutc``, and when each of them opens.

Bars up to 4H are the same in every time zone of whole hours that divide them. From 6H upwards the plain name opens
at midnight UTC+8, a minute-exact eight hours before UTC's own; the name with ``utc`` aligns with UTC. Case matters:
``1m`` is a minute, ``1M`` a month, and ``1h`` is nothing. Bars whose alignment the exchange does not document (2D, 3D,
3M) and seconds are not offered.

Times are UTC milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import overload

from chandlery.domain.candle import CandleRows
from chandlery.domain.rollup import joined_rows
from chandlery.domain.timeframe import HOUR_MS, TIMEFRAMES, IntArray, Timeframe, UtcMs

_HONG_KONG_MS = 8 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar as the exchange names it: a timeframe that opens ``ahead_ms`` before it would in UTC."""

    name: str
    timeframe: Timeframe
    ahead_ms: int = 0

    def __str__(self) -> str:
        return self.name

    @overload
    def ordinal(self, time: UtcMs) -> int: ...
    @overload
    def ordinal(self, time: IntArray) -> IntArray: ...
    def ordinal(self, time: UtcMs | IntArray) -> int | IntArray:
        """The number of the bar that contains ``time``."""
        return self.timeframe.ordinal(time + self.ahead_ms)

    @overload
    def open_at(self, ordinal: int) -> UtcMs: ...
    @overload
    def open_at(self, ordinal: IntArray) -> IntArray: ...
    def open_at(self, ordinal: int | IntArray) -> UtcMs | IntArray:
        """The open time of bar number ``ordinal``."""
        return self.timeframe.open_at(ordinal) - self.ahead_ms

    def floor(self, time: UtcMs) -> UtcMs:
        """The open time of the bar that contains ``time``."""
        return self.open_at(self.ordinal(time))

    def made_of(self, finer: Timeframe) -> bool:
        """Whether every bar is a whole number of ``finer`` candles."""
        steps_fit = finer.step_ms is not None and self.ahead_ms % finer.step_ms == 0
        return self.timeframe.made_of(finer) and (self.ahead_ms == 0 or steps_fit)

    def join(self, rows: CandleRows) -> CandleRows:
        """``rows``, ascending, joined into one candle a bar: a bar is made of whatever rows it has."""
        series = replace(rows.series, timeframe=self.timeframe)
        return joined_rows(rows, series, self.open_at(self.ordinal(rows.open_time)))


def _bars() -> dict[str, Bar]:
    bars = []
    for timeframe in TIMEFRAMES.values():
        name = timeframe.name if timeframe.name.endswith("m") else timeframe.name.upper()
        if timeframe.step_ms is not None and timeframe.step_ms <= 4 * HOUR_MS:
            bars.append(Bar(name, timeframe))
        else:
            bars += [Bar(name, timeframe, _HONG_KONG_MS), Bar(f"{name}utc", timeframe)]
    return {bar.name: bar for bar in bars}


BARS = _bars()
"""Every bar that the simulator serves, by the exchange's name."""


def utc_bar(timeframe: Timeframe) -> Bar:
    """The bar that aligns with ``timeframe``: ``1Dutc`` for ``1d``."""
    return next(bar for bar in BARS.values() if bar.timeframe == timeframe and not bar.ahead_ms)
