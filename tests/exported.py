"""Candles with holes for exports, and folders as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from candles import candles
from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery


def with_holes(of: Series, count: int, *, start: int, seed: int = 0, share: float = 0.2) -> CandleBatch:
    """Candles of which a share is missing, but neither the first nor the last."""
    whole = candles(of, count, start=start, seed=seed)
    kept = np.random.default_rng(seed + 1).random(count) >= share
    kept[[0, -1]] = True
    return whole.take(kept)


def store(storage: PostgreSQLStorage, *batches: CandleBatch) -> None:
    """Store batches; covered is what they fill."""
    storage.require_schema()
    storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
