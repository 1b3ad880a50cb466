"""What everything is compared with: two files of candles, and what they say of every timeframe.

The files hold real candles where there are some: CHANDLERY_REAL_CANDLES names their folder, else it is
``../shared/data`` beside the repository. Elsewhere files of the same names are made of the simulator's candles.
Nothing in here uses the code that it judges, but for the simulator's where there are no real candles.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

Candles = dict[str, npt.NDArray[np.generic]]
"""``time`` (UTC milliseconds, int64) and the doubles open, high, low, close, volume (base) and quote_volume."""

REPOSITORY = Path(__file__).resolve().parents[1]
PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume", "quote_volume")
MINUTE_MS = 60_000
STEPS_MS = {name: minutes * MINUTE_MS for name, minutes in {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "1d": 1440}.items()}
_MADE_UP_SEED = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of candles of one instrument: its name, when it begins (UTC milliseconds), and how many it holds."""

    file: str
    symbol: str
    timeframe: str
    begins: int
    count: int


COLLECTED = Recording("okx_BTC-USDT-SWAP_1m_2026-01.parquet", "BTC-USDT-SWAP", "1m", 1_767_225_600_000, 22_078)
"""The exchange replays it."""
IMPORTED = Recording("okx_DOGE-USDT-SWAP_5m_2022.parquet", "DOGE-USDT-SWAP", "5m", 1_651_363_200_000, 70_499)
"""It is handed in as CSV; its first seven months are whole."""


@dataclass(frozen=True, slots=True)
class Source:
    """The two files, in one folder; ``real`` says whether somebody recorded them."""

    folder: Path
    real: bool

    def candles(self, recording: Recording) -> Candles:
        """What is recorded. The turnover is not: collected candles get close x volume in cents, imported ones none."""
        table = pa_parquet.read_table(self.folder / recording.file)
        found = {name: table[name].to_numpy() for name in PRICES}
        found |= {"time": table["open_time_ms"].to_numpy(), "volume": table["base_volume"].to_numpy()}
        turnover = np.round(found["close"] * found["volume"], 2)
        return found | {"quote_volume": turnover if recording is COLLECTED else np.full(len(table), np.nan)}

    def coarser(self, recording: Recording, timeframe: str) -> Candles:
        """The whole bars of another timeframe that a recording makes; its bars open on the grid of UTC."""
        fine, step = self.candles(recording), STEPS_MS[timeframe]
        opens = fine["time"] // step * step
        starts = np.flatnonzero(np.diff(opens, prepend=-1))
        whole = opens[starts] + step <= fine["time"][-1] + STEPS_MS[recording.timeframe]
        lasts = np.append(starts[1:], len(opens)) - 1
        joined = {
            "time": opens[starts],
            "open": fine["open"][starts],
            "high": np.maximum.reduceat(fine["high"], starts),
            "low": np.minimum.reduceat(fine["low"], starts),
            "close": fine["close"][lasts],
            **{name: _sums(fine[name], starts) for name in ("volume", "quote_volume")},
        }
        return {name: column[whole] for name, column in joined.items()}

    def write(self, recording: Recording, folder: Path, kind: str) -> Path:
        """The same candles as a file such as ``BTC-USDT_1m.csv``; a turnover that is not known is left out."""
        path = folder / f"{recording.symbol}_{recording.timeframe}.{kind}"
        columns = {"open_time": "time", **{name: name for name in VALUES}}
        candles = self.candles(recording)
        known = {name: candles[column] for name, column in columns.items() if not np.isnan(candles[column]).all()}
        {"csv": pa_csv.write_csv, "parquet": pa_parquet.write_table}[kind](pa.table(known), path)
        return path


def find_source(scratch: Path) -> Source:
    """The real candles, or else made-up ones, written into ``scratch``."""
    folder = Path(os.environ.get("CHANDLERY_REAL_CANDLES") or REPOSITORY.parent / "shared" / "data")
    if all((folder / recording.file).exists() for recording in (COLLECTED, IMPORTED)):
        return Source(folder, real=True)
    for recording in (COLLECTED, IMPORTED):
        _make_up(recording, scratch / recording.file)
    return Source(scratch, real=False)


def _make_up(recording: Recording, path: Path) -> None:
    from chandlery.domain.span import Span
    from chandlery.domain.timeframe import timeframe
    from chandlery.simulator import SeededMarket
    from chandlery.simulator.bars import utc_bar

    span = Span(recording.begins, recording.begins + recording.count * STEPS_MS[recording.timeframe])
    market = SeededMarket(_MADE_UP_SEED, [recording.symbol])
    rows = market.newest(recording.symbol, utc_bar(timeframe(recording.timeframe)), span, recording.count)
    columns = {"open_time_ms": rows.open_time} | {name: getattr(rows, name) for name in PRICES}
    pa_parquet.write_table(pa.table(columns | {"base_volume": rows.base_volume}), path)


def _sums(values: npt.NDArray[np.generic], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The doubles nearest to the sums of the printed numbers."""
    groups = np.split(values, starts[1:])
    return np.array([float(sum(Decimal(repr(value)) for value in group.tolist())) for group in groups])
