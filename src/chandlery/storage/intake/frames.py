"""The door for pandas: frames in, understood or refused; candles out.

given = rows_from_frame(frame, series)       # then the rules of chandlery.domain.rules
given = rows_from_records(records, "okx")    # dicts of many series at once
frame = candles_frame(candles)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chandlery.domain.candle import COLUMNS, FIELDS, CandleBatch, CandleRows
from chandlery.domain.instrument import Series, canonical_symbol
from chandlery.domain.timeframe import IntArray
from chandlery.errors import DataValidationError
from chandlery.storage.candle_table import CandleTable, open_times
from chandlery.storage.intake.columns import PlainColumn, plain
from chandlery.storage.intake.records import RecordRows, Refused, rows_from_records
from chandlery.storage.intake.tables import SPELLINGS, FrameRows, frame_rows, raw_text, read_table, spelled

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FrameRows",
    "RecordRows",
    "Refused",
    "aligned_frame",
    "candles_frame",
    "columns_for",
    "latest_frame",
    "rows_from_frame",
    "rows_from_records",
    "table_frame",
]

_CANDLE_THINGS = tuple(thing for thing in SPELLINGS if thing not in ("symbol", "timeframe"))
_COLUMN_OF = dict(zip(FIELDS, COLUMNS, strict=True))
_NS_PER_MS = 1_000_000


def rows_from_frame(frame: pd.DataFrame, series: Series) -> FrameRows:
    """The candles of one series in a frame; columns of doubles are taken without a copy.

    The time is a column ``timestamp``, ``open_time``, ``ts``, ``date`` or ``datetime``, or the index; ``open`` or
    ``open_price`` and so on; ``volume`` or ``base_volume``; ``quote_volume`` and ``confirmed`` if known. Rows that
    cannot be read are rejected; a frame that cannot be understood as a whole raises DataValidationError.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataValidationError(
            f"expected a pandas DataFrame, not {type(frame).__name__}.", hint="Lists of dicts go to bulk_insert."
        )
    if not len(frame) and not len(frame.columns):
        frame = pd.DataFrame({spellings[0]: [] for spellings in SPELLINGS.values()})
    frame = _with_time_column(frame)
    names = spelled(frame.columns, _CANDLE_THINGS)
    _refuse_other_series(frame, series)
    columns = {thing: _column(frame, name) for thing, name in names.items()}
    # column by column: a row taken as a whole would have its integers turned into doubles
    raw = partial(_raw, list(frame.items()))
    return frame_rows(read_table(columns, names), series, raw)


def candles_frame(candles: CandleRows) -> pd.DataFrame:
    """Candles as a frame: ``timestamp`` (datetime64[ns, UTC]), open, high, low, close, ``volume`` (base currency),
    ``quote_volume`` (NaN where not told). The columns share the candles' memory.
    """
    columns = {name: column for name, column in candles.columns().items() if name != "open_time"}
    columns = {"volume" if name == "base_volume" else name: column for name, column in columns.items()}
    return pd.DataFrame({"timestamp": _times(candles.open_time), **columns}, copy=False)


def table_frame(table: CandleTable, fields: Sequence[str]) -> pd.DataFrame:
    """Candles as a frame with the columns ``fields``: those of ``candles_frame``, ``symbol`` and ``timeframe``.

    These two are categoricals in the order asked for: a million rows of text would cost more than all the numbers.
    """
    return pd.DataFrame({field: _frame_column(table, field) for field in fields}, copy=False)


def columns_for(fields: Sequence[str]) -> tuple[str, ...]:
    """What has to be read for a frame with the columns ``fields``, at least one column."""
    return tuple(_COLUMN_OF[field] for field in fields if field in _COLUMN_OF) or ("open_time",)


def _frame_column(table: CandleTable, field: str) -> Any:
    if field == "timestamp":
        times = table.rows["open_time"]
        if times.type.unit == "ns":
            return _in_utc(_own(times, np.dtype(np.int64)))
        return _times(open_times(table.rows))
    if field in _COLUMN_OF:
        return _own(table.rows[_COLUMN_OF[field]], np.dtype(np.float64))
    names = [series.symbol if field == "symbol" else series.timeframe.name for series in table.series]
    return _repeated(names, np.diff(table.edges))


def _own(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> Any:
    """The values in memory that the holder of a frame may change: Arrow's own may not be, ours is handed over."""
    if column.num_chunks == 1 and not column.null_count:
        [chunk] = column.chunks
        memory = chunk.buffers()[1]
        if memory.is_mutable:
            return np.frombuffer(memory, dtype)[chunk.offset : chunk.offset + len(chunk)]
    return np.array(column.to_numpy().view(dtype))


def aligned_frame(fine: CandleBatch, coarse: CandleBatch) -> pd.DataFrame:
    """Fine candles, each beside the last coarse one that had closed when it opened; NaT and NaN before the first."""
    positions = coarse.last_closed(fine.open_time)
    beside = candles_frame(coarse).reindex(pd.Index(positions)).reset_index(drop=True)
    return pd.concat([candles_frame(fine), beside.add_prefix("coarse_")], axis=1)


def latest_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows of the view ``ohlcv`` as a frame, its times in nanoseconds as in the others."""
    frame: pd.DataFrame = rows.to_pandas()
    frame["timestamp"] = frame["timestamp"].astype("datetime64[ns, UTC]")
    return frame


def _repeated(values: list[str], counts: IntArray) -> pd.Categorical[str]:
    number = {value: position for position, value in enumerate(dict.fromkeys(values))}
    # in the type that pandas would turn them into
    codes = np.repeat(np.array([number[value] for value in values], np.min_scalar_type(-len(number))), counts)
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(number)), validate=False)


def _times(open_time: IntArray) -> pd.arrays.DatetimeArray:
    """Milliseconds as times for a frame."""
    return _in_utc(open_time * _NS_PER_MS)


def _in_utc(nanoseconds: IntArray) -> pd.arrays.DatetimeArray:
    """Times for a frame; by way of an index they would be copied twice."""
    utc = pd.DatetimeTZDtype("ns", "UTC")
    times: pd.arrays.DatetimeArray = pd.Series(nanoseconds, dtype=utc, copy=False).array
    return times


def _with_time_column(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its index as a column, if the index is what tells the time."""
    spellings = SPELLINGS["open_time"]
    is_time = isinstance(frame.index, pd.DatetimeIndex) or frame.index.name in spellings
    if not is_time:
        return frame
    others = [str(name) for name in frame.columns if name in spellings]
    if others:
        raise DataValidationError(
            f"the index and the column {others[0]} both say what the timestamp is.",
            hint="Drop one: frame.reset_index(drop=True).",
        )
    columns: dict[Any, Any] = {spellings[0]: frame.index.to_series(index=frame.index)}
    return pd.concat([pd.DataFrame(columns, copy=False), frame], axis=1)


def _raw(columns: list[tuple[Any, pd.Series[Any]]], row: int) -> str:
    return raw_text({name: column.iloc[row] for name, column in columns})


def _column(frame: pd.DataFrame, name: str) -> PlainColumn:
    return plain(frame.iloc[:, list(frame.columns).index(name)], name)


def _refuse_other_series(frame: pd.DataFrame, series: Series) -> None:
    """A frame with candles of something else must not be stored under the wrong name."""
    expected = {"symbol": series.symbol, "timeframe": series.timeframe.name}
    for thing, own in expected.items():
        for name in (name for name in frame.columns if name in SPELLINGS[thing]):
            for value in frame[name].drop_duplicates().tolist():
                found = canonical_symbol(value) if thing == "symbol" else str(value)
                if found != own:
                    raise DataValidationError(
                        f"the column {name} holds {found}, but the frame was given as {own}.",
                        hint="Pass one series a call, or use bulk_insert for records of many.",
                    )
