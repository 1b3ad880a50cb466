"""save_klines: one call that stores a frame wherever the one global setting ``data.output`` says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chandlery.domain.instrument import Series, canonical_symbol
from chandlery.domain.rules import judge
from chandlery.domain.timeframe import timeframe
from chandlery.services.opening import open_storage
from chandlery.settings import Settings, load_settings
from chandlery.storage.catalog import DEFAULT_EXCHANGE
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.intake.frames import rows_from_frame
from chandlery.storage.writer import SaveResult

if TYPE_CHECKING:
    import pandas as pd


def save_klines(df: pd.DataFrame, symbol: str, interval: str, *, settings: Settings | None = None) -> SaveResult:
    """Store a frame of closed candles in PostgreSQL, in a CSV file, or in both, as ``data.output`` says.

    The frame may look as for ``PostgreSQLStorage.save_ohlcv_data``. ``settings`` None loads them as the command line
    does. The result is the database's where there is one. Raises DataValidationError, DatabaseError, StorageError.
    """
    settings = settings or load_settings()
    result = SaveResult()
    if settings.data.output in ("csv", "both"):
        result = _save_to_file(df, symbol, interval, settings)
    if settings.data.output in ("postgres", "both"):
        with open_storage(settings) as storage:
            result = storage.save_ohlcv_data(df, symbol, interval)
    return result


def _save_to_file(df: pd.DataFrame, symbol: str, interval: str, settings: Settings) -> SaveResult:
    series = Series(DEFAULT_EXCHANGE, canonical_symbol(symbol), timeframe(interval))
    given = rows_from_frame(df, series)
    verdict = judge(given.rows, now=time.time_ns() // 1_000_000, raw=given.raw)
    counts = CsvStore(settings.data.csv_folder).save(verdict.accepted)
    return SaveResult(
        inserted=counts.inserted,
        unchanged=counts.unchanged + verdict.repeated,
        revised=counts.revised,
        rejected=len(given.rejected) + len(verdict.rejected),
        rounded=given.rounded,
    )
