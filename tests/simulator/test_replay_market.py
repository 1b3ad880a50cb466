"""The replayed market: files of any kind come back value for value, and bad files say what is wrong with them."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest
from simulator_client import Asker

from chandlery.domain.span import Span
from chandlery.errors import ConfigurationError, DataValidationError
from chandlery.simulator import ReplayMarket, SeededMarket, Simulator
from chandlery.simulator.bars import BARS

MINUTE_MS = 60_000
START_MS = 1_704_067_200_000  # 2024-01-01 UTC
EVER = Span(0, 2**52)


def recorded(count: int = 120, first: int = 0) -> dict[str, np.ndarray]:
    """Minutes of a swap as a file has them."""
    span = Span(START_MS + first * MINUTE_MS, START_MS + (first + count) * MINUTE_MS)
    rows = SeededMarket(3).newest("BTC-USDT-SWAP", BARS["1m"], span, count)
    columns = rows.columns()
    return {"open_time_ms": columns.pop("open_time"), **columns}


def write(path: Path, columns: dict) -> Path:
    table = pa.table(columns)
    if path.name.endswith(".parquet"):
        pa_parquet.write_table(table, path)
    elif path.name.endswith(".feather"):
        pa_feather.write_feather(table, path)
    else:
        pa_csv.write_csv(table, path)
        if path.name.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "BTC-USDT-SWAP_1m.parquet",
        "okx_BTC-USDT-SWAP_1m_2024-01.feather",
        "BTC-USDT-SWAP_1m.csv",
        "BTC-USDT-SWAP_1m.csv.gz",
    ],
)
def test_files_of_every_kind_come_back_value_for_value(tmp_path: Path, name: str):
    columns = recorded()
    market = ReplayMarket.from_files([write(tmp_path / name, columns)])
    rows = market.newest("BTC-USDT-SWAP", BARS["1m"], EVER, 1_000)
    assert np.array_equal(rows.open_time, columns["open_time_ms"])
    for column in ("open", "high", "low", "close", "base_volume", "quote_volume"):
        assert np.array_equal(getattr(rows, column), columns[column])


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("open_time", lambda ms: ms),
        ("ts", lambda ms: ms // 1_000),
        ("timestamp", lambda ms: ms * 1_000_000),
        ("timestamp", lambda ms: pa.array(ms, pa.timestamp("ms"))),
        ("timestamp", lambda ms: pa.array(ms, pa.timestamp("ms", tz="UTC"))),
        ("open_time", lambda ms: [datetime.fromtimestamp(each / 1_000, UTC).isoformat() for each in ms.tolist()]),
    ],
    ids=["milliseconds", "seconds", "nanoseconds", "naive", "aware", "text"],
)
def test_times_are_understood_in_every_usual_form(tmp_path: Path, name: str, times):
    columns = recorded()
    original = columns.pop("open_time_ms")
    path = write(tmp_path / "BTC-USDT-SWAP_1m.parquet", {name: times(original), **columns})
    rows = ReplayMarket.from_files([path]).newest("BTC-USDT-SWAP", BARS["1m"], EVER, 1_000)
    assert np.array_equal(rows.open_time, original)


def test_an_absent_quote_volume_is_close_times_base_volume(tmp_path: Path):
    columns = recorded()
    del columns["quote_volume"]
    columns["volume"] = columns.pop("base_volume")
    market = ReplayMarket.from_files([write(tmp_path / "BTC-USDT-SWAP_1m.csv", columns)])
    rows = market.newest("BTC-USDT-SWAP", BARS["1m"], EVER, 1_000)
    assert np.array_equal(rows.quote_volume, columns["close"] * columns["volume"])


def test_files_of_several_periods_are_one_history_and_holes_stay_holes(tmp_path: Path):
    paths = [
        write(tmp_path / "BTC-USDT-SWAP_1m_b.parquet", recorded(10, first=50)),
        write(tmp_path / "BTC-USDT-SWAP_1m_a.parquet", recorded(20)),
        write(tmp_path / "BTC-USDT-SWAP_1m_c.parquet", recorded(10, first=55)),
    ]
    rows = ReplayMarket.from_files(paths).newest("BTC-USDT-SWAP", BARS["1m"], EVER, 1_000)
    assert ((rows.open_time - START_MS) // MINUTE_MS).tolist() == [*range(20), *range(50, 65)]


def test_symbol_and_timeframe_may_be_given(tmp_path: Path):
    path = write(tmp_path / "candles.csv", recorded())
    assert list(ReplayMarket.from_files([path], symbol="BTC-USDT", timeframe="1m").listings) == ["BTC-USDT"]


def test_finer_candles_than_the_recorded_are_refused_and_coarser_ones_are_rolled_up(tmp_path: Path):
    span = Span(START_MS, START_MS + 240 * 5 * MINUTE_MS)
    rows = SeededMarket(3).newest("ETH-USDT", BARS["5m"], span, 1_000)
    columns = rows.columns()
    path = write(tmp_path / "ETH-USDT_5m.parquet", {"ts": columns.pop("open_time"), **columns})
    with Simulator(ReplayMarket.from_files([path])).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        for bar in ("1m", "3m"):
            assert exchange.history(instId="ETH-USDT", bar=bar).code == "51000"
        for bar in ("15m", "1H", "1Dutc", "1M"):
            assert exchange.candles(instId="ETH-USDT", bar=bar).data


def test_the_present_is_the_end_of_the_recording(tmp_path: Path):
    path = write(tmp_path / "BTC-USDT-SWAP_1m.parquet", recorded(120))
    with Simulator(ReplayMarket.from_files([path])).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        assert exchange.now() == START_MS + 120 * MINUTE_MS
        newest = exchange.candles(instId="BTC-USDT-SWAP", limit=1).data[0]
        assert (int(newest[0]), newest[8]) == (START_MS + 119 * MINUTE_MS, "1")


def broken(change) -> dict:
    columns = recorded()
    change(columns)
    return columns


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.pop("open_time_ms"), "has no column open_time_ms"),
        (lambda c: c.pop("high"), "has no column high"),
        (lambda c: c.update(high=c["low"] / 2), "high is below low"),
        (lambda c: c.update(close=["x"] * 120), "a column that is not numbers"),
        (lambda c: c.update(close=np.full(120, np.nan)), "close is not a number"),
        (lambda c: c.update(open_time_ms=c["open_time_ms"] + 1), "not the open of a 1m bar"),
        (lambda c: c.update({name: c[name][:0] for name in list(c)}), "holds no candle"),
        (lambda c: c.update(open_time_ms=np.repeat(c["open_time_ms"][:60], 2)), "conflicting duplicate"),
        (lambda c: c.update(open_time_ms=[None, *c["open_time_ms"][1:]]), "1 rows without a time"),
    ],
)
def test_a_file_that_is_not_candles_says_why(tmp_path: Path, change, complaint: str):
    path = write(tmp_path / "BTC-USDT-SWAP_1m.parquet", broken(change))
    with pytest.raises(DataValidationError, match=complaint):
        ReplayMarket.from_files([path])


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nothing.csv", "tells no symbol"),
        ("BTC-USDT.csv", "tells no timeframe"),
        ("BTC-USDT_1m.xlsx", "of no kind that can be replayed"),
        ("BTC-USDT_1m.parquet", "cannot be read"),
        ("BTC-USDT_1m.feather", "cannot be read"),
        ("BTC-USDT_1m.csv.gz", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, complaint: str):
    path = tmp_path / name
    path.write_bytes(b"\x00\xffnot what the name says")
    with pytest.raises(DataValidationError, match=complaint):
        ReplayMarket.from_files([path])


def test_a_file_that_is_absent_says_so(tmp_path: Path):
    with pytest.raises(DataValidationError, match="cannot be read"):
        ReplayMarket.from_files([tmp_path / "BTC-USDT_1m.parquet"])


def test_two_timeframes_of_one_instrument_are_refused(tmp_path: Path):
    paths = [write(tmp_path / f"BTC-USDT_{name}.parquet", recorded(1)) for name in ("1m", "1H")]
    with pytest.raises(DataValidationError, match="several timeframes: 1h, 1m"):
        ReplayMarket.from_files(paths)


def test_recordings_that_contradict_each_other_are_refused(tmp_path: Path):
    other = recorded() | {"quote_volume": recorded()["quote_volume"] + 1}
    paths = [
        write(tmp_path / "BTC-USDT_1m_a.parquet", recorded()),
        write(tmp_path / "BTC-USDT_1m_b.parquet", other),
    ]
    with pytest.raises(DataValidationError, match="conflicting duplicate"):
        ReplayMarket.from_files(paths)


def test_nothing_to_replay_is_an_error():
    with pytest.raises(ConfigurationError, match="no recording"):
        ReplayMarket([])
