"""How many bytes a candle takes, as a row with its key and sealed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.segment_files import encode
from chandlery.storage.sizes import sizes

_REPOSITORY = Path(__file__).resolve().parents[1]
_RECORDINGS = Path(os.environ.get("CHANDLERY_REAL_CANDLES") or _REPOSITORY.parent / "shared" / "data")
"""Where recordings of real candles are, if there are any; they are not part of the project."""
_REAL = {
    "BTC-USDT-SWAP 1m, real": ("okx_BTC-USDT-SWAP_1m_2026-01.parquet", "1m"),
    "DOGE-USDT-SWAP 5m, real": ("okx_DOGE-USDT-SWAP_5m_2022.parquet", "5m"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes a candle of ``what``: as a row with its key, None where only the segment was made, and sealed."""

    what: str
    candles: int
    row: float | None
    sealed: float


def sizes_of(storage: PostgreSQLStorage) -> list[Size]:
    """Of the made-up candles that are stored, each once as a row and once sealed too, and of real ones if there are."""
    minute = TIMEFRAMES["1m"]
    found = sizes(storage.database, [minute])[minute]
    rows, sealed = storage.database.transact(
        lambda connection: (
            connection.execute(
                "SELECT (SELECT count(*) FROM chandlery.candle_1m), (SELECT sum(candles) FROM chandlery.sealed)"
            ).fetchone()
            or (0, 0)
        )
    )
    made_up = Size(
        what="made-up, 1m",
        candles=int(sealed),
        row=(found.table + found.index) / rows,
        sealed=found.segment / int(sealed),
    )
    return [made_up, *real_sizes()]


def real_sizes() -> list[Size]:
    """The recordings as one segment each. They have no volume in quote currency."""
    found = []
    for what, (name, timeframe) in _REAL.items():
        if (_RECORDINGS / name).exists():
            batch = _recording(_RECORDINGS / name, timeframe)
            found.append(Size(what=what, candles=len(batch), row=None, sealed=len(encode(batch).file) / len(batch)))
    return found


def _recording(file: Path, timeframe: str) -> CandleBatch:
    import pyarrow.parquet as pa_parquet

    table = pa_parquet.read_table(file)
    columns = {name: table[name].to_numpy() for name in ("open", "high", "low", "close", "base_volume")}
    columns |= {"open_time": table["open_time_ms"].to_numpy(), "quote_volume": np.full(len(table), np.nan)}
    return CandleBatch.of(Series("okx", file.stem.split("_")[1], TIMEFRAMES[timeframe]), columns)
