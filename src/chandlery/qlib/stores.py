"""The three stores that Qlib's providers ask, in the shape of Qlib's own; they read only, and need no Qlib to import.

Qlib makes one anew for every question, by name, with the arguments that it gives its own stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import DataNotFoundError, DataValidationError
from chandlery.qlib.source import Block, QlibSource
from chandlery.services.export_qlib.layout import MARKET, freq_of, symbol_of, timeframe_of, whole_days

if TYPE_CHECKING:
    import pandas as pd


class PostgresCalendarStorage:
    """The times of all rows of a frequency."""

    def __init__(self, freq: str, future: bool, source: QlibSource, **_: Any) -> None:
        self._freq = freq
        self._future = future
        self._source = source

    @property
    def data(self) -> pd.DatetimeIndex:
        """Naive UTC. Raises ValueError for the future, which Qlib asks for first, and for an absent frequency."""
        import pandas as pd

        if self._future:
            raise DataValidationError("nothing is known of the future.")
        calendar = self._source.calendars.get(timeframe_of(self._freq))
        if calendar is None:
            names = ", ".join(freq_of(bar) for bar in TIMEFRAMES.values() if bar in self._source.calendars)
            raise DataValidationError(f"no candles are stored for the frequency {self._freq}.", hint=f"Use {names}.")
        as_from_text = pd.Timestamp("2024-01-01 00:00:00").unit  # so that indexes are as they are from a folder
        return pd.DatetimeIndex(calendar.open_times().astype("M8[ms]").astype("M8[us]")).as_unit(as_from_text)


class PostgresInstrumentStorage:
    """The one market ``all``: each symbol with its span in any frequency."""

    def __init__(self, market: str, source: QlibSource, **_: Any) -> None:
        self._market = market
        self._source = source

    @property
    def data(self) -> dict[str, list[tuple[pd.Timestamp, pd.Timestamp]]]:
        """Spans of whole days, both ends included. Raises DataNotFoundError for another market."""
        import pandas as pd

        if self._market.lower() != MARKET:
            raise DataNotFoundError(f"there is no market {self._market}.", hint='The one here is "all".')
        days = {symbol: whole_days(span) for symbol, span in self._source.instruments.items()}
        return {s: [(pd.Timestamp(a, unit="ms"), pd.Timestamp(b, unit="ms"))] for s, (a, b) in days.items()}


class PostgresFeatureStorage:
    """The values of one field of one symbol."""

    def __init__(self, instrument: str, field: str, freq: str, source: QlibSource, **_: Any) -> None:
        self._symbol = symbol_of(instrument)
        self._field = field.lower()
        self._freq = freq
        self._source = source

    @property
    def data(self) -> pd.Series:
        """All values by row."""
        return self[:]

    @property
    def start_index(self) -> int | None:
        """The row of the first value; None if there is no value."""
        block = self._block()
        return None if block is None else block.start

    @property
    def end_index(self) -> int | None:
        """The row of the last value; None if there is no value."""
        block = self._block()
        return None if block is None else block.start + len(self) - 1

    def __len__(self) -> int:
        block = self._block()
        return 0 if block is None else len(block.columns[self._field])

    def __getitem__(self, rows: slice) -> pd.Series:
        """Float32 by row, for the rows of the calendar that are filled; an empty series for what is not there."""
        import pandas as pd

        block = self._block()
        if block is None:
            return pd.Series(dtype=np.float32)
        column = block.columns[self._field]
        first = max(block.start, block.start if rows.start is None else rows.start)
        end = block.start + len(column)
        end = min(end, end if rows.stop is None else rows.stop)
        if first >= end:
            return pd.Series(dtype=np.float32)
        values = column[first - block.start : end - block.start]
        return pd.Series(values, index=pd.RangeIndex(first, end), copy=True)

    def _block(self) -> Block | None:
        block = self._source.block(self._symbol, timeframe_of(self._freq))
        return block if block is not None and self._field in block.columns else None
