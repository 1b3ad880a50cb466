"""Imports into PostgreSQL: judged, counted, comparable, repeatable; what they prove for the ledger; nothing changed."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import psycopg
import pyarrow.parquet as pa_parquet
import pytest

from candles import START, candles, changed, series
from chandlery.domain.candle import VALUE_COLUMNS, CandleBatch, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import timeframe
from chandlery.errors import DataValidationError
from chandlery.services.bulk_import.given import Told, find_sources
from chandlery.services.bulk_import.job import SourceReport
from chandlery.services.bulk_import.run import Manner, import_sources
from chandlery.storage.csv_format import HEADER, encode
from chandlery.storage.intake.records import Refused
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sources import lines
from chandlery.storage.sources.tables import table_source
from chandlery.storage.writer import Delivery, SaveResult, Writer
from imported import imported
from real_candles import BTC_1M, FOLDER, needs

BTC = series()
EVERYTHING = Span(0, 4_102_444_800_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three hours of minutes without the hour in the middle, in our own format."""
    batch = candles(BTC, 180)
    path = tmp_path / "BTC-USDT_1m.csv"
    path.write_bytes(HEADER + encode(batch.take(np.r_[0:60, 120:180])))
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small files have many blocks."""
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1_000)


def run(storage: PostgreSQLStorage, path: Path, manner: Manner | None = None, **words: str) -> SourceReport:
    [report] = import_sources(storage, find_sources([str(path)]), Told.of(**words), manner or Manner())
    return report


def stored(storage: PostgreSQLStorage, of: Series = BTC) -> CandleBatch:
    return storage.reader.candles(of, EVERYTHING)


def test_candles_are_stored_once_and_cover_the_runs_that_they_fill(storage: PostgreSQLStorage, file: Path) -> None:
    first, again = run(storage, file), run(storage, file)
    assert first.result == SaveResult(inserted=120)
    assert again.result == SaveResult(unchanged=120)
    batch = candles(BTC, 180).take(np.r_[0:60, 120:180])
    assert same_values(stored(storage), batch).all()
    assert storage.ledger.covered(BTC) == batch.runs()
    [found] = first.series
    assert (found.span, found.gaps, found.missing) == (batch.span, 1, 60)


def test_the_source_is_only_read(storage: PostgreSQLStorage, file: Path) -> None:
    before, content = file.stat(), file.read_bytes()
    file.chmod(0o444)
    run(storage, file, Manner(verify=True))
    after = file.stat()
    assert file.read_bytes() == content
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert list(file.parent.iterdir()) == [file]


def test_a_dry_run_says_what_a_real_one_does_and_writes_nothing(
    storage: PostgreSQLStorage, file: Path, small_blocks: None
) -> None:
    other = changed(candles(BTC, 180).take(slice(0, 30)), slice(0, 5))
    storage.writer.write([Delivery(batch=other, covered=other.runs())])
    with file.open("a") as more:
        more.write("2024-01-01T00:00:00Z,9,9,9,9,9,\nnothing\n")
    before, covered = stored(storage), storage.ledger.covered(BTC)
    dry = run(storage, file, Manner(dry_run=True))
    assert same_values(stored(storage), before).all()
    assert storage.ledger.covered(BTC) == covered
    assert rejected_rows(storage) == 0
    real = run(storage, file)
    assert dry.result == real.result == SaveResult(inserted=90, unchanged=25, revised=4, rejected=3)
    assert (dry.reasons, dry.series) == (real.reasons, real.series)
    assert rejected_rows(storage) == 3


def rejected_rows(storage: PostgreSQLStorage) -> int:
    with psycopg.connect(storage.database.conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM chandlery.rejected").fetchone()
    assert row is not None
    return int(row[0])


class Killed(Exception):
    """Stands for the end of the process."""


def test_what_was_killed_is_simply_done_again(
    storage: PostgreSQLStorage, file: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stops, what was committed stays, and a second run ends in the same data."""
    write, calls = Writer.write, 0

    def write_some(writer: Writer, deliveries: Sequence[Delivery], refused: Sequence[Refused] = ()) -> SaveResult:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Killed
        return write(writer, deliveries, refused)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "write", write_some)
        with pytest.raises(Killed):
            run(storage, file)
    kept = len(stored(storage))
    assert 0 < kept < 120
    assert run(storage, file).result == SaveResult(inserted=120 - kept, unchanged=kept)
    assert same_values(stored(storage), candles(BTC, 180).take(np.r_[0:60, 120:180])).all()


def test_verifying_finds_every_difference_by_its_column(storage: PostgreSQLStorage, file: Path) -> None:
    assert run(storage, file, Manner(verify=True)).differences == {}
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute(
            "UPDATE chandlery.candle_1m SET base_volume = base_volume + 1 WHERE open_time < '2024-01-01 00:07Z'"
        )
        connection.execute("DELETE FROM chandlery.candle_1m WHERE open_time = '2024-01-01 00:30Z'")
    report = run(storage, file, Manner(dry_run=True, verify=True))
    assert report.compared == 120
    assert report.differences == {"base_volume": 7, "not stored": 1}
    assert not report.complete


def test_a_file_that_is_silent_about_the_turnover_takes_nothing_away(storage: PostgreSQLStorage, file: Path) -> None:
    run(storage, file)
    rows = [line.rpartition(",")[0] for line in file.read_text().splitlines()]
    file.write_text("\n".join([*rows, ""]))
    report = run(storage, file, Manner(verify=True))
    assert (report.result, report.differences) == (SaveResult(unchanged=120), {})


def test_one_bad_file_does_not_keep_the_others_out(storage: PostgreSQLStorage, file: Path) -> None:
    (file.parent / "AAA-USDT_1m.csv").write_text("not,candles\n")
    (file.parent / "ZZZ-USDT_1m.csv").mkdir()
    sources = find_sources([str(file.parent)])
    bad, good = import_sources(storage, sources, Told(), Manner())
    assert "AAA-USDT_1m.csv does not say" in str(bad.error)
    assert good.result.inserted == 120
    with psycopg.connect(storage.database.conninfo) as connection:
        runs = connection.execute("SELECT command, outcome, inserted FROM chandlery.run ORDER BY id").fetchall()
    assert [(outcome, inserted) for _, outcome, inserted in runs] == [("failed", 0), ("complete", 120)]


def test_a_file_that_changes_while_it_is_read_is_not_trusted(
    storage: PostgreSQLStorage, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Writer.write

    def write_and_append(writer: Writer, *given: Sequence[Delivery]) -> SaveResult:
        with file.open("a") as other:
            other.write("2024-01-01T09:00:00Z,1,1,1,1,1,\n")
        return write(writer, *given)

    monkeypatch.setattr(Writer, "write", write_and_append)
    assert "was changed while it was read" in str(run(storage, file).error)


FIRST_TABLE = """
CREATE TABLE public.ohlcv_data (
    id bigserial PRIMARY KEY, symbol varchar(20) NOT NULL, "interval" varchar(5) NOT NULL,
    "timestamp" timestamptz NOT NULL, open_price numeric(20,8), high_price numeric(20,8), low_price numeric(20,8),
    close_price numeric(20,8), volume numeric(20,8), note text DEFAULT E'two\\nlines, "quoted"'
);
SET timezone = 'Asia/Hong_Kong';
INSERT INTO public.ohlcv_data
SELECT 2 * n + i, (ARRAY['BTC-USDT', 'ETH/USDT'])[i], '1H', '2024-01-01 00:00Z'::timestamptz + n * interval '1 hour',
       1.5, 2.25, 0.12345678, 1, n
  FROM generate_series(0, 99) AS n, generate_series(1, 2) AS i;
INSERT INTO public.ohlcv_data VALUES (0, 'BTC-USDT', '1D', '2024-01-02 00:00+08', 1, 1, 1, 1, 1);
"""


def test_the_specifications_first_table_is_taken_as_it_is(storage: PostgreSQLStorage, small_blocks: None) -> None:
    """Exact decimals, aware times, two symbols, and a bar of Hong Kong's day that is refused."""
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute(FIRST_TABLE)
    with table_source(storage.database.conninfo, "public.ohlcv_data", {}) as source:
        [report] = import_sources(storage, [source], Told(), Manner(verify=True))
    assert report.error is None
    assert report.result == SaveResult(inserted=200, rejected=1)
    assert (report.compared, report.differences, report.without_zone) == (200, {}, 0)
    assert list(report.reasons) == ["time is not the open of a 1d bar: it is one at UTC+8"]
    batch = stored(storage, series("ETH-USDT", "1h"))
    assert batch.open_time[0] == START
    assert (batch.low == 0.12345678).all()
    assert batch.base_volume.tolist() == list(range(100))


def test_a_table_with_names_of_its_own_and_one_that_is_not_there(
    storage: PostgreSQLStorage, new_database: Callable[..., str]
) -> None:
    other = new_database(empty=True)
    with psycopg.connect(other) as connection:
        connection.execute(
            "CREATE SCHEMA old; CREATE TABLE old.bars (t bigint, o float8, h float8, l float8, c float8, v float8)"
        )
        connection.execute(
            "INSERT INTO old.bars SELECT 1704067200 + 60 * n, 1, 1, 1, 1, n FROM generate_series(9, 0, -1) n"
        )
    told = Told.of(columns="time=t,open=o,high=h,low=l,close=c,volume=v", symbol="BTC-USDT", timeframe_name="1m")
    with table_source(other, "old.bars", told.columns) as source:
        [report] = import_sources(storage, [source], told, Manner())
    assert (report.unit, report.result.inserted) == ("s", 10)
    with pytest.raises(DataValidationError, match="no table old"), table_source(other, "old.candles", {}):
        pass
    with pytest.raises(DataValidationError, match="does not say"), table_source(other, "old.bars", {}):
        pass


BITFINEX = FOLDER / "bitfinex_BTCUSD_1m_2015.csv.gz"


@needs(BITFINEX.name)
def test_a_real_file_with_columns_in_an_order_of_its_own(tmp_path: Path) -> None:
    """A year of another exchange, without header, close before high: all is taken, and the lost month is found."""
    columns = "time=1,open=2,close=3,high=4,low=5,volume=6"
    words = {"symbol": "BTC-USD", "timeframe_name": "1m", "exchange": "bitfinex"}
    sink, report = imported(BITFINEX, columns=columns, **words)
    assert report.result == SaveResult(inserted=366_710)
    assert sum(len(delivery.batch) for delivery in sink.deliveries) == 366_710
    assert (report.unit, report.series[0].missing) == ("ms", 158_890)
    some = tmp_path / "some.csv"
    with gzip.open(BITFINEX) as year:
        some.write_bytes(b"".join(islice(year, 5_000)))
    _, wrong = imported(some, columns="time=1,open=2,high=3,low=4,close=5,volume=6", **words)
    assert wrong.result.rejected > 2_000, "the wrong order does not pass for candles"


@needs(BTC_1M.name)
def test_real_candles_in_the_exchanges_own_layout(storage: PostgreSQLStorage, tmp_path: Path) -> None:
    table = pa_parquet.read_table(BTC_1M).to_pandas()
    out = table.rename(columns={"base_volume": "vol_ccy", "open_time_ms": "open_time"})
    out["instrument_name"], out["vol"], out["confirm"] = "BTC-USDT-SWAP", out["vol_ccy"] * 100, 1
    out["vol_quote"] = out["vol_ccy"] * out["close"]
    header = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"
    path = tmp_path / "BTC-USDT-SWAP-candlesticks-2026-01.zip"
    out.to_csv(path, columns=header.split(","), index=False, compression={"method": "zip", "archive_name": "a.csv"})
    report = run(storage, path, Manner(verify=True))
    assert report.result.inserted == len(table)
    assert report.differences == {}
    batch = stored(storage, Series("okx", "BTC-USDT-SWAP", timeframe("1m")))
    for name in VALUE_COLUMNS[:-1]:
        assert np.array_equal(getattr(batch, name), table[name].to_numpy()), name
