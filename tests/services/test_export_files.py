"""Exports hold every bit of what is stored, appear whole, and come back as they were."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candles import START, candles, series
from chandlery.domain.candle import COLUMNS, CandleBatch, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.errors import DataNotFoundError, DataValidationError, StorageError
from chandlery.services.bulk_import.given import Told, find_sources
from chandlery.services.bulk_import.run import Manner, import_sources
from chandlery.services.export_files import Wanted, export_files
from chandlery.services.seal import Sealer
from chandlery.storage.candle_files import FileFormat, write_file
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery

KINDS: tuple[FileFormat, ...] = ("csv", "parquet", "arrow")
EVERYTHING = Span(0, 4_102_444_800_000)
READERS = {"parquet": pa_parquet.read_table, "arrow": pa_feather.read_table}


def save(storage: PostgreSQLStorage, batch: CandleBatch) -> None:
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])


def read(path: Path, of: Series) -> CandleBatch:
    """A Parquet or Arrow file as a stranger reads it."""
    table: pa.Table = READERS[path.suffix[1:]](path)
    names = dict(zip(COLUMNS, table.column_names, strict=True))
    times = table["timestamp"].cast(pa.int64())
    return CandleBatch.of(of, {name: times if name == "open_time" else table[column] for name, column in names.items()})


NUMBERS = itertools.count()
prices = st.floats(min_value=1e-12, max_value=1e12)
volumes = st.floats(min_value=0, max_value=1e15)


@st.composite
def batches(draw: st.DrawFn) -> CandleBatch:
    """Candles of a new series, with values that no rounding survives."""
    of = series(f"T{next(NUMBERS)}-USDT", draw(st.sampled_from(["1m", "1h", "1d", "1w", "1M"])))
    numbers = sorted(draw(st.sets(st.integers(0, 20), min_size=1, max_size=8)))
    first = of.timeframe.ordinal(of.timeframe.ceil(START))
    rows = [sorted(draw(st.tuples(prices, prices, prices, prices))) for _ in numbers]
    low, open_, close, high = np.array(rows).T
    columns = {"open": open_, "high": high, "low": low, "close": close}
    columns["base_volume"] = np.array([draw(volumes) for _ in numbers])
    columns["quote_volume"] = np.array([draw(st.one_of(volumes, st.just(np.nan))) for _ in numbers])
    return CandleBatch.of(of, {"open_time": of.timeframe.open_at(np.array(numbers) + first), **columns})


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches(), st.sampled_from(KINDS))
def test_what_is_exported_comes_back_to_the_last_bit(
    storage: PostgreSQLStorage, batch: CandleBatch, kind: FileFormat
) -> None:
    save(storage, batch)
    of = batch.series
    with tempfile.TemporaryDirectory() as folder:
        [file] = export_files(storage, Path(folder), kind, Wanted(symbols=[of.symbol], exchange=of.exchange))
        assert file.candles == len(batch)
        if kind == "csv":
            [report] = import_sources(storage, find_sources([folder]), Told(exchange="copy"), Manner())
            assert report.complete, report
            back = storage.reader.candles(replace(of, exchange="copy"), EVERYTHING)
        else:
            back = read(file.path, of)
    assert np.array_equal(back.open_time, batch.open_time)
    assert same_values(back, batch).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_series_has_a_file_that_no_file_system_mistakes_for_another(
    storage: PostgreSQLStorage, tmp_path: Path, kind: FileFormat
) -> None:
    for of in (series(), series(interval="1M"), series("ETH-USDT"), series(exchange="okx-demo")):
        save(storage, candles(of, 3))
    files = export_files(storage, tmp_path, kind, Wanted())
    names = sorted(str(file.path.relative_to(tmp_path)) for file in files)
    assert names == [
        f"BTC-USDT_1m.{kind}",
        f"BTC-USDT_1mo.{kind}",
        f"ETH-USDT_1m.{kind}",
        f"okx-demo/BTC-USDT_1m.{kind}",
    ]
    assert len(list(tmp_path.rglob("*.*"))) == 4, "nothing else is left behind"
    some = export_files(storage, tmp_path / "some", kind, Wanted(symbols=["eth/usdt"], exchange="okx"))
    assert [str(file.series) for file in some] == ["ETH-USDT 1m"]


def test_only_the_wanted_span_is_exported_across_months(storage: PostgreSQLStorage, tmp_path: Path) -> None:
    batch = candles(series(interval="5m"), 20_000)
    save(storage, batch)
    wanted = Wanted(start=int(batch.open_time[100]), end=int(batch.open_time[-100]))
    [file] = export_files(storage, tmp_path, "parquet", wanted)
    back = read(file.path, batch.series)
    assert np.array_equal(back.open_time, batch.open_time[100:-100])
    assert pa_parquet.ParquetFile(file.path).num_row_groups == 3, "a month at a time"
    with pytest.raises(DataNotFoundError, match="no candle is stored of what is to be exported"):
        export_files(storage, tmp_path / "none", "csv", Wanted(start=START * 2))
    assert not (tmp_path / "none").exists() or not list((tmp_path / "none").iterdir())


def test_pandas_reads_the_files_with_utc_times(storage: PostgreSQLStorage, tmp_path: Path) -> None:
    save(storage, candles(series(), 5))
    for kind, reader in (("parquet", pd.read_parquet), ("arrow", pd.read_feather)):
        [file] = export_files(storage, tmp_path, kind, Wanted())
        frame = reader(file.path)
        assert frame["timestamp"].iloc[0] == pd.Timestamp("2024-01-01", tz="UTC")
        pd.testing.assert_frame_equal(
            frame.astype({"timestamp": "datetime64[ns, UTC]"}), storage.get_ohlcv_data("BTC-USDT", "1m")
        )


def test_existing_files_are_not_touched_unless_that_is_wanted(storage: PostgreSQLStorage, tmp_path: Path) -> None:
    save(storage, candles(series(), 5))
    save(storage, candles(series("ETH-USDT"), 5))
    (tmp_path / "ETH-USDT_1m.csv").write_text("mine")
    with pytest.raises(DataValidationError, match=r"ETH-USDT_1m\.csv exists"):
        export_files(storage, tmp_path, "csv", Wanted())
    assert [path.name for path in tmp_path.iterdir()] == ["ETH-USDT_1m.csv"]
    assert len(export_files(storage, tmp_path, "csv", Wanted(), overwrite=True)) == 2
    with pytest.raises(DataNotFoundError, match="XRP-USDT"):
        export_files(storage, tmp_path, "csv", Wanted(symbols=["XRP-USDT"]))


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "BTC-USDT_1m.parquet"
    path.write_text("old")

    def some() -> Iterator[CandleBatch]:
        yield candles(series(), 5)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_file(path, "parquet", some())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"
    with pytest.raises(StorageError, match="cannot be written"):
        write_file(path / "below", "csv", [candles(series(), 5)])


def test_months_that_live_without_their_rows_are_exported_too(storage: PostgreSQLStorage, tmp_path: Path) -> None:
    """Only the newest candle is a row still; the extent of the series is that of its segments."""
    batch = candles(series("BTC-USDT"), 2 * 44_640)
    save(storage, batch)
    sealer = Sealer(storage)
    (entry,) = sealer.entries()
    sealer.seal(entry, before=int(batch.open_time[-1]))
    sealer.drop_rows(entry)

    export_files(storage, tmp_path, "parquet", Wanted())

    assert same_values(read(tmp_path / "BTC-USDT_1m.parquet", batch.series), batch).all()
