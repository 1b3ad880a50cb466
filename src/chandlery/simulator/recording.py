"""Files of real candles: Parquet, Feather and CSV, read, understood and judged.

A file has a column of open times, called ``open_time_ms``, ``open_time``, ``timestamp`` or ``ts``, then ``open``,
``high``, ``low``, ``close``, ``base_volume`` (or ``volume``, in the base currency) and perhaps ``quote_volume``.
Integer times may count seconds, milliseconds, microseconds or nanoseconds since 1970: their size tells; times without
a zone are UTC. A quote volume that is absent becomes close x base volume, which is near the truth and not the truth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet

from chandlery.domain.candle import PRICE_COLUMNS, CandleBatch, CandleRows, FloatArray
from chandlery.domain.instrument import Series, canonical_symbol
from chandlery.domain.rules import judge
from chandlery.domain.timeframe import TIMEFRAMES, IntArray, Timeframe, timeframe
from chandlery.errors import DataValidationError
from chandlery.simulator.listings import EXCHANGE

_TIME_COLUMNS = ("open_time_ms", "open_time", "timestamp", "ts")
_VOLUME_COLUMNS = ("base_volume", "volume")
_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".parquet": pa_parquet.read_table,
    ".feather": pa_feather.read_table,
    ".csv": pa_csv.read_csv,
    ".csv.gz": pa_csv.read_csv,
}
_UNITS_PER_MS = ((1e11, 1_000, 1), (1e14, 1, 1), (1e17, 1, 1_000), (np.inf, 1, 1_000_000))
"""Times below the first number are multiplied by the second and divided by the third."""
_SYMBOL_IN_NAME = re.compile(r"(?=[^-]*[A-Z])[A-Z0-9]+(-[A-Z0-9]+)+", re.ASCII)


def read_recording(path: Path, *, symbol: str | None = None, timeframe_name: str | None = None) -> CandleBatch:
    """The candles of one file, ascending and unique.

    Symbol and timeframe, where not given, come from a file name such as ``okx_BTC-USDT-SWAP_1m_2026-01.parquet``.
    Raises DataValidationError for a file that cannot be read, misses a column, or holds rows that are no candles.
    """
    series = _series(path, symbol, timeframe_name)
    table = _table(path)
    try:
        rows = CandleRows.of(series, {"open_time": _times(path, table), **_values(path, table)})
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataValidationError(
            f"{path.name} has a column that is not numbers: {error}.",
            hint="Take it in with chandlery import, then export it.",
        ) from error
    if not len(rows):
        raise DataValidationError(f"{path.name} holds no candle.", hint="Leave it out.")
    return _judged(path.name, rows)


def joined_recordings(batches: Sequence[CandleBatch]) -> CandleBatch:
    """Recordings of one series as one; they may overlap where they say the same.

    Raises DataValidationError where they contradict each other.
    """
    names = list(batches[0].columns())
    columns = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names}
    series = batches[0].series
    return _judged(f"The files of {series}", CandleRows.of(series, columns))


def _judged(source: str, rows: CandleRows) -> CandleBatch:
    last_close = rows.series.timeframe.close_of(int(rows.open_time.max()))
    verdict = judge(rows, now=last_close, raw=lambda row: str([column[row] for column in rows.columns().values()]))
    if len(verdict.rejected):
        bad, time = len(verdict.rejected), verdict.rejected.open_time[0]
        raise DataValidationError(
            f"{source}: {bad} of {len(rows)} rows are no candles of {rows.series}; "
            f"the first, at {time} ms, is: {verdict.rejected.reason[0]}.",
            hint="Check the timeframe, the unit of the times and the order of the columns.",
        )
    return verdict.accepted


def _series(path: Path, symbol: str | None, timeframe_name: str | None) -> Series:
    words = path.name.removesuffix(_suffix(path)).split("_")
    symbol = symbol or next((word for word in words if _SYMBOL_IN_NAME.fullmatch(word)), None)
    timeframe_name = timeframe_name or next((word for word in words if _timeframe_of(word)), None)
    if symbol is None or timeframe_name is None:
        missing = "symbol" if symbol is None else "timeframe"
        raise DataValidationError(
            f"The name of {path.name} tells no {missing}.",
            hint=f"Give the {missing}, or name the file as in BTC-USDT_1m.csv.",
        )
    return Series(EXCHANGE, canonical_symbol(symbol), _timeframe_of(timeframe_name) or timeframe(timeframe_name))


def _suffix(path: Path) -> str:
    """The part of the name that tells the kind of file."""
    for suffix in _READERS:
        if path.name.endswith(suffix):
            return suffix
    raise DataValidationError(
        f"{path.name} is of no kind that can be replayed.", hint=f"Use one of {', '.join(_READERS)}."
    )


def _timeframe_of(word: str) -> Timeframe | None:
    """``1m`` and ``1M`` as they stand; ``1H``, ``1D`` and ``1W`` in either case."""
    return TIMEFRAMES.get(word if word[-1:] in "mM" else word.lower())


def _table(path: Path) -> pa.Table:
    try:
        return _READERS[_suffix(path)](path)
    except (OSError, pa.ArrowException) as error:
        raise DataValidationError(f"{path} cannot be read: {error}.", hint="Look at the path and the file.") from error


def _column(path: Path, table: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    for name in names:
        if name in table.column_names:
            return table[name]
    raise DataValidationError(
        f"{path.name} has no column {' or '.join(names)}; it has {', '.join(table.column_names)[:200]}.",
        hint="The first line of a CSV file must name the columns.",
    )


def _times(path: Path, table: pa.Table) -> IntArray:
    column = _column(path, table, _TIME_COLUMNS)
    if column.null_count:
        raise DataValidationError(f"{path.name} has {column.null_count} rows without a time.", hint="Remove them.")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.cast(column, pa.timestamp("ms", tz="UTC"))
    if pa.types.is_timestamp(column.type):
        return pc.cast(pc.cast(column, pa.timestamp("ms"), safe=False), pa.int64()).to_numpy()  # type: ignore[no-any-return]
    times: IntArray = pc.cast(column, pa.int64()).to_numpy()
    latest = int(times.max(initial=0))
    factor, divisor = next(unit[1:] for unit in _UNITS_PER_MS if latest < unit[0])
    return times * factor // divisor


def _values(path: Path, table: pa.Table) -> dict[str, FloatArray]:
    values = {name: _doubles(_column(path, table, (name,))) for name in PRICE_COLUMNS}
    values["base_volume"] = _doubles(_column(path, table, _VOLUME_COLUMNS))
    estimate = values["close"] * values["base_volume"]
    if "quote_volume" in table.column_names:
        told = _doubles(table["quote_volume"])
        values["quote_volume"] = np.where(np.isnan(told), estimate, told)
    else:
        values["quote_volume"] = estimate
    return values


def _doubles(column: pa.ChunkedArray) -> FloatArray:
    """A column of any numbers, or of their text, as doubles; a null is NaN."""
    doubles: FloatArray = pc.cast(column, pa.float64(), safe=False).to_numpy()
    return doubles
