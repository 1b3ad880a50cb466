"""Candles for people and for other libraries: what a read returns, one line away from what each of them takes.

    candles = storage.candles("BTC-USDT", "1h", "2024-01-01", "2024-01-31")
    candles.to_pandas()

Whatever speaks Arrow (polars, DuckDB, pandas 3) takes the object itself, without a copy of the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chandlery.domain.candle import VALUE_COLUMNS, CandleBatch
from chandlery.domain.instrument import Series
from chandlery.errors import ConfigurationError
from chandlery.storage.pgtime import to_datetime

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SIX = VALUE_COLUMNS[:-1]
"""What others call OHLCV; nobody asks for the turnover."""


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """The stored candles of one series in a span, oldest first; ``batch`` has them as arrays.

    The time of a candle is its open, UTC; ``volume`` is in the base currency. What is missing is missing in every
    form: no row is made up. Frames of pandas are yours to change; what speaks Arrow shares the memory of ``batch``.
    """

    batch: CandleBatch

    @property
    def series(self) -> Series:
        """Whose candles."""
        return self.batch.series

    def __len__(self) -> int:
        return len(self.batch)

    def __repr__(self) -> str:
        span = ""
        if len(self):
            first, last = (to_datetime(int(self.batch.open_time[row])) for row in (0, -1))
            span = f", {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        return f"<{len(self):,} candles of {self.series}, {self.series.exchange}{span}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The columns of ``to_arrow`` for whoever speaks Arrow's C interface: ``polars.DataFrame(candles)``."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> pa.Table:
        """A pyarrow table: ``timestamp`` (ms, UTC), the five, ``quote_volume`` (null where not told)."""
        from chandlery.storage.candle_files import candle_table

        return candle_table(self.batch)

    def to_pandas(self) -> pd.DataFrame:
        """The frame that ``get_ohlcv_data`` returns: ``timestamp`` (ns, UTC), the five, ``quote_volume`` (or NaN)."""
        from chandlery.storage.intake.frames import candles_frame

        return candles_frame(self.batch).copy()

    def to_polars(self) -> Any:
        """A polars frame with the columns of ``to_arrow``. Raises ConfigurationError without polars."""
        try:
            import polars
        except ImportError as error:
            raise ConfigurationError(
                "polars is not installed in this environment.", hint="pip install polars"
            ) from error
        return polars.from_arrow(self.to_arrow())

    def to_ccxt(self) -> list[list[float]]:
        """What ``fetch_ohlcv`` of ccxt returns: lists of the open in milliseconds (an int) and the five."""
        columns = [self.batch.open_time, *(getattr(self.batch, name) for name in _SIX)]
        return list(map(list, zip(*(column.tolist() for column in columns), strict=True)))

    def to_freqtrade(self) -> pd.DataFrame:
        """The frame of freqtrade's strategies and data handlers: ``date`` (ms, UTC) and the five."""
        frame = self._five("date")
        return frame.assign(date=frame["date"].astype("datetime64[ms, UTC]"))

    def to_backtesting(self) -> pd.DataFrame:
        """The frame of backtesting.py: a DatetimeIndex, ``Open``, ``High``, ``Low``, ``Close``, ``Volume``."""
        return self._five("timestamp").set_index("timestamp").rename(columns=str.capitalize)

    def to_lightweight_charts(self) -> pd.DataFrame:
        """The frame that ``Chart.set`` of the Python package lightweight-charts takes: ``time`` (ns) and the five."""
        return self._five("time")

    def _five(self, time: str) -> pd.DataFrame:
        return self.to_pandas().drop(columns="quote_volume").rename(columns={"timestamp": time})
