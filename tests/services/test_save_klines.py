"""save_klines stores a frame wherever the one global setting says, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from candles import candles, series
from chandlery import PostgreSQLStorage, save_klines
from chandlery.domain.candle import same_values
from chandlery.errors import ConfigurationError
from chandlery.settings import Settings, load_settings
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.writer import SaveResult
from processes import as_url

BATCH = candles(series(), 100)


@pytest.fixture
def frame() -> pd.DataFrame:
    return candles_frame(BATCH)


def chosen(output: str, database_url: str, folder: Path) -> Settings:
    overrides = {"data.output": output, "data.csv_folder": str(folder), "database.url": as_url(database_url)}
    return load_settings(environ={}, overrides=overrides)


@pytest.mark.parametrize(
    ("output", "in_database", "on_file"), [("postgres", 100, 0), ("csv", 0, 100), ("both", 100, 100)]
)
def test_the_one_setting_decides(
    output: str, in_database: int, on_file: int, frame: pd.DataFrame, database_url: str, tmp_path: Path
) -> None:
    settings = chosen(output, database_url, tmp_path)
    assert save_klines(frame, "BTC-USDT", "1m", settings=settings) == SaveResult(inserted=100)
    assert save_klines(frame, "BTC/USDT", "1m", settings=settings) == SaveResult(unchanged=100)
    with PostgreSQLStorage(database_url) as storage:
        assert storage.ledger.covered(BATCH.series).length == in_database * 60_000
    files = CsvStore(tmp_path)
    assert (len(files.read(BATCH.series)) if files.series() else 0) == on_file
    if on_file:
        assert same_values(files.read(BATCH.series), BATCH).all()


def test_bad_rows_are_counted_and_good_ones_stored(frame: pd.DataFrame, database_url: str, tmp_path: Path) -> None:
    frame.loc[3, "close"] = float("nan")
    for output in ("csv", "postgres"):
        result = save_klines(frame, "BTC-USDT", "1m", settings=chosen(output, database_url, tmp_path))
        assert result == SaveResult(inserted=99, rejected=1)


def test_an_unknown_output_is_refused_with_the_permitted_ones(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"postgres.*csv.*both"):
        chosen("mysql", database_url, tmp_path)
