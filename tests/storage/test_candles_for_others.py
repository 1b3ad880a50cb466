"""Candles stand one line away from what other libraries take; `make test-frames` tries the libraries themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as pa_feather
import pytest

from candles import START, candles, series
from chandlery import Candles, ConfigurationError, PostgreSQLStorage
from chandlery.cli import main
from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import canonical_symbol, slashed_symbol
from exported import store
from processes import as_url

FIVE = ["open", "high", "low", "close", "volume"]


@pytest.fixture
def held() -> Candles:
    """Ten candles, a turnover untold."""
    whole = candles(series(), 10)
    turnover = whole.quote_volume.copy()
    turnover[3] = np.nan
    return Candles(CandleBatch.of(whole.series, {**whole.columns(), "quote_volume": turnover}))


def test_a_read_returns_them_and_they_say_what_they_are(storage: PostgreSQLStorage) -> None:
    store(storage, candles(series(), 3000))
    day = storage.candles("btc/usdt", "1m", "2024-01-02", "2024-01-02")
    assert len(day) == 1440
    assert repr(day) == "<1,440 candles of BTC-USDT 1m, okx, 2024-01-02 00:00 to 2024-01-02 23:59 UTC>"
    pd.testing.assert_frame_equal(day.to_pandas(), storage.get_ohlcv_data("BTC-USDT", "1m", "2024-01-02", "2024-01-02"))


def test_without_candles_they_are_empty_in_every_form() -> None:
    none = Candles(CandleBatch.empty(series()))
    assert repr(none) == "<0 candles of BTC-USDT 1m, okx>"
    frames = [none.to_pandas(), none.to_freqtrade(), none.to_backtesting(), none.to_lightweight_charts()]
    assert [len(frame) for frame in frames] == [0] * 4
    assert (none.to_ccxt(), none.to_arrow().num_rows) == ([], 0)


def test_whatever_speaks_arrow_takes_the_object_itself(held: Candles) -> None:
    table = pa.table(held)
    assert table.equals(held.to_arrow())
    assert table.schema.field("timestamp").type == pa.timestamp("ms", "UTC")
    assert table["timestamp"].cast(pa.int64()).to_pylist() == held.batch.open_time.tolist()
    assert table["quote_volume"].null_count == 1
    assert table["close"].chunk(0).buffers()[1].address == held.batch.close.__array_interface__["data"][0], "copied"


def test_a_frame_can_be_changed_and_the_candles_stay(held: Candles) -> None:
    before = held.batch.close.copy()
    frame = held.to_pandas()
    frame.loc[0, "close"] = frame.loc[0, "close"] + 1.0
    assert np.array_equal(held.batch.close, before)


def test_lists_are_those_of_ccxt(held: Candles) -> None:
    rows = held.to_ccxt()
    assert rows[0] == [
        START,
        *(getattr(held.batch, name)[0] for name in ("open", "high", "low", "close", "base_volume")),
    ]
    assert [type(value) for value in rows[0]] == [int, *[float] * 5]
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("form", "time", "dtype", "names"),
    [
        ("to_freqtrade", "date", "datetime64[ms, UTC]", FIVE),
        ("to_backtesting", None, "datetime64[ns, UTC]", [name.capitalize() for name in FIVE]),
        ("to_lightweight_charts", "time", "datetime64[ns, UTC]", FIVE),
    ],
)
def test_frames_have_the_columns_and_times_of_their_libraries(
    held: Candles, form: str, time: str | None, dtype: str, names: list[str]
) -> None:
    frame: pd.DataFrame = getattr(held, form)()
    times = frame.index.to_series() if time is None else frame[time]
    assert str(times.dtype) == dtype
    assert times.astype("datetime64[ms, UTC]").astype("int64").tolist() == held.batch.open_time.tolist()
    assert list(frame.columns) == ([] if time is None else [time]) + names
    assert np.array_equal(frame[names].to_numpy(), held.to_pandas()[FIVE].to_numpy())


def test_without_polars_the_next_step_is_told(held: Candles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigurationError, match="pip install polars"):
        held.to_polars()


@pytest.mark.parametrize(
    ("symbol", "slashed"),
    [
        ("BTC-USDT", "BTC/USDT"),
        ("BTC-USDT-SWAP", "BTC/USDT:USDT"),
        ("BTC-USD-SWAP", "BTC/USD:BTC"),
        ("BTC-USDT-250808", "BTC/USDT:USDT-250808"),
        ("BTC-USD-250808", "BTC/USD:BTC-250808"),
        ("INDEX", "INDEX"),
    ],
)
def test_the_spelling_of_general_libraries_leads_back_to_the_symbol(symbol: str, slashed: str) -> None:
    assert slashed_symbol(symbol) == slashed
    assert canonical_symbol(slashed) == symbol


def test_files_for_freqtrade_have_its_names_its_columns_and_every_value(
    storage: PostgreSQLStorage, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_DATABASE_URL", as_url(database_url))
    of = [series("BTC-USDT", "1M"), series("BTC-USDT-SWAP", "1h"), series("BTC-USD-250808", "1d")]
    store(storage, *(candles(one, 20) for one in of))
    store(storage, candles(series("BTC-USDT", "1m", "okx-simulated"), 20))
    assert main(["export", "freqtrade", str(tmp_path)]) == 0
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} == {
        "BTC_USDT-1Mo.feather",
        "futures/BTC_USDT_USDT-1h-futures.feather",
        "futures/BTC_USD_BTC-250808-1d-futures.feather",
        "okx-simulated/BTC_USDT-1m.feather",
    }
    frame = pa_feather.read_feather(tmp_path / "futures" / "BTC_USDT_USDT-1h-futures.feather")
    expected = storage.candles("BTC-USDT-SWAP", "1h").to_freqtrade()
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
