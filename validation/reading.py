"""Exported files, read as another program would: nothing of chandlery is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from validation.source import PRICES, VALUES, Candles

QLIB_FREQUENCIES = {"1m": "1min", "5m": "5min", "15m": "15min", "1h": "60min", "1d": "day"}


def read_csv(folder: Path, exchange: str, symbol: str, timeframe: str) -> Candles:
    """A CSV file; an empty field is NaN."""
    doubles = pa_csv.ConvertOptions(column_types=dict.fromkeys(VALUES, pa.float64()))
    return _columns(pa_csv.read_csv(_file(folder, exchange, symbol, timeframe, "csv"), convert_options=doubles))


def read_parquet(folder: Path, exchange: str, symbol: str, timeframe: str) -> Candles:
    """A Parquet file."""
    return _columns(pa_parquet.read_table(_file(folder, exchange, symbol, timeframe, "parquet")))


def read_qlib(folder: Path, _exchange: str, symbol: str, timeframe: str) -> Candles:
    """A symbol's columns of one frequency, in float32, without the bars of the calendar that it has not."""
    freq = QLIB_FREQUENCIES[timeframe]
    fields = {name: name for name in (*PRICES, "volume")} | {"quote_volume": "amount"}
    files = {name: _qlib_file(folder, symbol, field, freq) for name, field in fields.items()}
    columns = {name: values[1:] for name, values in files.items()}
    begins = int(files["close"][0])
    calendar = np.array((folder / "calendars" / f"{freq}.txt").read_text().split("\n")[:-1], dtype="datetime64[ms]")
    time = calendar[begins : begins + len(columns["close"])].astype(np.int64)
    candles: Candles = {"time": time, **columns}
    there = ~np.isnan(columns["close"])
    return {name: column[there] for name, column in candles.items()}


def _file(folder: Path, exchange: str, symbol: str, timeframe: str, kind: str) -> Path:
    """Candles of OKX lie at the top, those of other exchanges in folders of their own."""
    return (folder if exchange == "okx" else folder / exchange) / f"{symbol}_{timeframe}.{kind}"


def _columns(table: pa.Table) -> Candles:
    time = pc.cast(pc.cast(table["timestamp"], pa.timestamp("ms", "UTC")), pa.int64())
    return {"time": time.to_numpy()} | {name: table[name].to_numpy() for name in VALUES}


def _qlib_file(folder: Path, symbol: str, field: str, freq: str) -> npt.NDArray[np.float32]:
    """The row of the first value in the calendar, and the values."""
    return np.fromfile(folder / "features" / symbol.lower() / f"{field}.{freq}.bin", dtype="<f4")
