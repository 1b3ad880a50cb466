"""Candles in columns: as they came (``CandleRows``) and proved (``CandleBatch``).

The order of the columns stands here and nowhere else. Times are UTC milliseconds; prices are in the quote currency;
``base_volume`` is in the base currency for every kind of instrument; ``quote_volume`` is in the quote currency, NaN
where its source did not tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import IntArray

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

PRICE_COLUMNS = ("open", "high", "low", "close")
VOLUME_COLUMNS = ("base_volume", "quote_volume")
VALUE_COLUMNS = PRICE_COLUMNS + VOLUME_COLUMNS
COLUMNS = ("open_time", *VALUE_COLUMNS)
FIELDS = ("timestamp", "open", "high", "low", "close", "volume", "quote_volume")
"""The names of the same columns in files and frames."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandleRows:
    """Candles of one series in any order, nothing proved; all columns are arrays of the same length."""

    series: Series
    open_time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    base_volume: FloatArray
    quote_volume: FloatArray

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns().values()}
        if len(lengths) != 1:
            raise ValueError(f"columns of different lengths: {sorted(lengths)}")

    @classmethod
    def of(cls, series: Series, columns: Mapping[str, npt.ArrayLike]) -> Self:
        """From a mapping of the names in ``COLUMNS`` to anything that numpy turns into numbers, uncopied if it can."""
        return cls(
            series=series,
            open_time=np.asarray(columns["open_time"], dtype=np.int64),
            **{name: np.asarray(columns[name], dtype=np.float64) for name in VALUE_COLUMNS},
        )

    @classmethod
    def empty(cls, series: Series) -> Self:
        """No candles at all."""
        return cls.of(series, dict.fromkeys(COLUMNS, ()))

    def __len__(self) -> int:
        return len(self.open_time)

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The columns by name, in the one order."""
        return {name: getattr(self, name) for name in COLUMNS}

    def take(self, rows: BoolArray | IntArray | slice) -> Self:
        """The rows that a mask, an array of positions or a slice picks."""
        return self.of(self.series, {name: column[rows] for name, column in self.columns().items()})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandleBatch(CandleRows):
    """Candles of one series, proved to be aligned in time, ascending and unique."""

    def __post_init__(self) -> None:
        CandleRows.__post_init__(self)
        if np.any(np.diff(self.open_time) <= 0):
            raise ValueError("a batch must ascend strictly in open_time")
        if np.any(self.series.timeframe.floor(self.open_time) != self.open_time):
            raise ValueError(f"a batch must align with {self.series.timeframe}")

    @classmethod
    def joined(cls, series: Series, batches: Sequence[CandleBatch]) -> Self:
        """Batches that follow one another in time, as one."""
        if not batches:
            return cls.empty(series)
        names = COLUMNS
        return cls.of(series, {name: np.concatenate([getattr(b, name) for b in batches]) for name in names})

    @property
    def span(self) -> Span | None:
        """From the first open time to the last close time, or None for an empty batch."""
        if not len(self):
            return None
        return Span(int(self.open_time[0]), self.series.timeframe.close_of(int(self.open_time[-1])))

    def runs(self) -> Spans:
        """The spans that the candles fill without a hole: what holding these candles proves, and no more."""
        if not len(self):
            return Spans()
        timeframe = self.series.timeframe
        breaks = np.flatnonzero(np.diff(timeframe.ordinal(self.open_time)) != 1)
        starts = self.open_time[np.concatenate(([0], breaks + 1))]
        lasts = self.open_time[np.concatenate((breaks, [len(self) - 1]))]
        ends = timeframe.close_of(lasts)
        return Spans(Span(int(start), int(end)) for start, end in zip(starts, ends, strict=True))

    def last_closed(self, times: IntArray) -> IntArray:
        """For each time the position of the last candle that had closed by then, or -1 where none had."""
        closes = self.series.timeframe.close_of(self.open_time)
        return np.searchsorted(closes, times, side="right").astype(np.int64) - 1


def same_values(left: CandleRows, right: CandleRows) -> BoolArray:
    """Row by row, whether two equally long tables hold the same six values; NaN equals NaN."""
    same = np.ones(len(left), dtype=np.bool_)
    for name in VALUE_COLUMNS:
        a, b = getattr(left, name), getattr(right, name)
        same &= (a == b) | (np.isnan(a) & np.isnan(b))
    return same


def nothing_new(offered: CandleRows, known: CandleRows) -> BoolArray:
    """Row by row, whether ``offered`` says no more than what is known: equal, or silent about a known turnover."""
    silent = np.isnan(offered.quote_volume)
    told = {**offered.columns(), "quote_volume": np.where(silent, known.quote_volume, offered.quote_volume)}
    return same_values(CandleRows.of(offered.series, told), known)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rejected:
    """Rows that broke a rule, with what is needed to look at them later.

    ``open_time`` holds UTC milliseconds, or None where the row's time could not even be read. ``reason`` names every
    broken rule; ``raw`` is the row as its source wrote it.
    """

    series: Series
    open_time: list[int | None] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.reason)

    def __add__(self, other: Rejected) -> Rejected:
        lists = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "series"}
        return Rejected(series=self.series, **lists)


RawText = Callable[[int], str]
"""Gives the source's own text of row number i; asked for rejected rows only."""
