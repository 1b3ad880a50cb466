"""Candles of several series in one Arrow table: what the reader hands out, whatever they were read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from chandlery.domain.candle import VALUE_COLUMNS, CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import IntArray

if TYPE_CHECKING:
    import pyarrow as pa

PER_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}
"""How many of a unit of time are a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CandleTable:
    """Candles, series after series in the order asked for, each oldest first.

    ``rows`` has the columns that were asked for, of ``open_time`` (timestamp, UTC, in ms, us or ns) and the six values.
    Series number ``i`` has the rows from ``edges[i]`` up to ``edges[i + 1]``; a series without candles has none.
    """

    series: tuple[Series, ...]
    edges: IntArray
    rows: pa.Table

    @classmethod
    def joined(cls, series: Sequence[Series], tables: Sequence[pa.Table]) -> Self:
        """One table a series, put one after another without a copy; there is at least one."""
        import pyarrow as pa

        edges = np.cumsum([0, *(table.num_rows for table in tables)], dtype=np.int64)
        return cls(series=tuple(series), edges=edges, rows=pa.concat_tables(tables))

    def batch(self, number: int) -> CandleBatch:
        """The candles of series ``number`` as arrays; all columns must have been asked for."""
        start, end = int(self.edges[number]), int(self.edges[number + 1])
        rows = self.rows.slice(start, end - start)
        columns = {name: rows[name].to_numpy() for name in VALUE_COLUMNS}
        return CandleBatch.of(self.series[number], {"open_time": open_times(rows), **columns})


def open_times(rows: pa.Table) -> IntArray:
    """The column ``open_time`` in UTC milliseconds."""
    import pyarrow as pa

    times = rows["open_time"]
    whole: IntArray = times.cast(pa.int64()).to_numpy()
    per_ms = PER_MS[times.type.unit]
    return whole if per_ms == 1 else whole // per_ms
