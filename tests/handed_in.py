"""Frames as people hand them in, and a look at what became of them in the database."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from candles import START
from chandlery.storage.postgres import PostgreSQLStorage

MINUTE = 60_000


def frame(rows: int = 3, *, start: int = START, **columns: Any) -> pd.DataFrame:
    """Good one-minute candles from ``start``; ``columns`` replace its own or add some, and None takes one out."""
    count = np.arange(rows)
    good = {
        "timestamp": start + MINUTE * count,
        "open": count + 100.5,
        "high": count + 101.0,
        "low": count + 99.0,
        "close": count + 100.0,
        "volume": count + 0.25,
    }
    return pd.DataFrame({name: values for name, values in {**good, **columns}.items() if values is not None})


def records(rows: int = 3, **columns: Any) -> list[dict[str, Any]]:
    """The same as a list of dicts."""
    return frame(rows, **{"symbol": "BTC-USDT", "interval": "1m", **columns}).to_dict("records")


def opens(stored: pd.DataFrame) -> list[int]:
    """The open times of a frame that was read, UTC milliseconds."""
    return (stored["timestamp"].astype("int64") // 1_000_000).tolist()


def rejected(storage: PostgreSQLStorage) -> Counter[str]:
    """How often a row was set aside for which reason."""
    statement = "SELECT reason, sum(times_seen)::integer FROM chandlery.rejected GROUP BY reason"
    return Counter(dict(storage.database.transact(lambda c: c.execute(statement).fetchall())))
