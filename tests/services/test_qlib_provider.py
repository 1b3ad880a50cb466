"""Qlib's stores over PostgreSQL give the numbers of the exported folder, in this process, in copies and in forks."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import chandlery.qlib
from candles import START, candles, series
from chandlery.errors import ConfigurationError, DataNotFoundError
from chandlery.qlib import source as source_module
from chandlery.qlib.source import QlibSource
from chandlery.qlib.stores import PostgresCalendarStorage, PostgresFeatureStorage, PostgresInstrumentStorage
from chandlery.services.export_qlib import Selection, export_qlib
from chandlery.services.export_qlib.fields import FIELDS
from chandlery.services.export_qlib.reading import QlibFolder
from chandlery.storage.postgres import PostgreSQLStorage
from exported import store, with_holes

DAY = 86_400_000
FREQS = ("60min", "day", "1month")


@pytest.fixture
def source(storage: PostgreSQLStorage, database_url: str) -> QlibSource:
    """Two symbols that begin at different times, with holes."""
    store(
        storage,
        with_holes(series("BTC-USDT", "1h"), 200, start=START),
        with_holes(series("BTC-USDT", "1d"), 40, start=START),
        with_holes(series("ETH-USDT", "1h"), 90, start=START + 2 * DAY, seed=4),
        candles(series("ETH-USDT", "1M"), 3, start=START),
    )
    return QlibSource.opened(database_url)


def feature(source: QlibSource, symbol: str, field: str = "close", freq: str = "60min") -> PostgresFeatureStorage:
    return PostgresFeatureStorage(instrument=symbol, field=field, freq=freq, source=source)


def test_the_database_and_the_folder_are_equal_to_the_bit(
    source: QlibSource, storage: PostgreSQLStorage, tmp_path: Path
) -> None:
    export_qlib(storage, tmp_path / "qlib", Selection())
    folder, compared = QlibFolder(tmp_path / "qlib"), 0
    listed = PostgresInstrumentStorage(market="all", freq="day", source=source).data
    assert listed == {s: [(pd.Timestamp(a), pd.Timestamp(b))] for s, [(a, b)] in folder.instruments().items()}
    for freq in FREQS:
        times = PostgresCalendarStorage(freq=freq, future=False, source=source).data
        assert np.array_equal(times.to_numpy().astype("M8[s]"), folder.calendar(freq))
        for symbol in listed:
            for field in FIELDS:
                values = feature(source, symbol, field, freq)
                if len(values):
                    kept = folder.feature(symbol, field, freq)[values.start_index : values.end_index + 1]
                    assert values[:].to_numpy().tobytes() == kept.tobytes()
                    compared += 1
    assert compared == 4 * len(FIELDS)


@pytest.mark.parametrize(("first", "stop"), [(0, 10), (40, 60), (50, 51), (100, 1000), (None, None)])
def test_a_slice_is_the_rows_that_are_there(source: QlibSource, first: int | None, stop: int | None) -> None:
    values = feature(source, "ETH-USDT")
    assert (values.start_index, values.end_index, len(values)) == (48, 137, 90)
    cut = values[first:stop]
    whole = pd.Series(values[:].to_numpy(), index=range(48, 138))
    expected = whole.loc[(first or 0) : (stop - 1 if stop is not None else None)]
    assert cut.index.tolist() == expected.index.tolist()
    assert np.array_equal(cut.to_numpy(), expected.to_numpy(), equal_nan=True)


def test_other_spellings_of_a_frequency_find_the_same_values(source: QlibSource) -> None:
    """Unlike files, which are found under one name only."""
    assert len(feature(source, "btc-usdt", freq="1d")) == len(feature(source, "BTC-USDT", freq="day")) == 40


def test_what_is_not_there_is_empty_or_says_what_is(source: QlibSource) -> None:
    for absent in (
        feature(source, "XRP-USDT"),
        feature(source, "BTC-USDT", "pe"),
        feature(source, "ETH-USDT", freq="day"),
    ):
        assert (absent.start_index, absent.end_index, len(absent), len(absent[0:5])) == (None, None, 0, 0)
    with pytest.raises(ValueError, match="60min, day, 1month"):
        _ = PostgresCalendarStorage(freq="5min", future=False, source=source).data
    with pytest.raises(ValueError, match="future"):
        _ = PostgresCalendarStorage(freq="day", future=True, source=source).data
    with pytest.raises(DataNotFoundError, match="csi300"):
        _ = PostgresInstrumentStorage(market="csi300", freq="day", source=source).data


def test_a_block_is_read_once_and_room_is_made_for_the_next(
    source: QlibSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = source.block("BTC-USDT", series(interval="1h").timeframe)
    assert source.block("BTC-USDT", series(interval="1h").timeframe) is first
    monkeypatch.setattr(source_module, "CACHE_BYTES", 1)
    source.block("BTC-USDT", series(interval="1d").timeframe)
    assert source.block("BTC-USDT", series(interval="1h").timeframe) is not first


def test_a_copy_is_the_same_and_a_pickle_has_plan_but_no_connection(source: QlibSource) -> None:
    """Qlib copies its configuration for every value, and sends it to worker processes."""
    assert copy.deepcopy({"source": source})["source"] is source
    values = feature(source, "BTC-USDT")[:]
    sent = pickle.loads(pickle.dumps(source))
    assert feature(sent, "BTC-USDT")[:].equals(values)
    assert sent.calendars == source.calendars


def test_a_fork_reads_by_itself_and_leaves_the_connection_of_its_parent_alone(source: QlibSource) -> None:
    feature(source, "BTC-USDT")[:]
    process = os.fork()
    if process == 0:
        try:
            os._exit(0 if len(feature(source, "ETH-USDT")[:]) == 90 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert len(feature(source, "BTC-USDT", freq="day")[:]) == 40


def test_without_qlib_the_way_to_install_it_is_told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qlib", None)
    with pytest.raises(ConfigurationError, match="pip install pyqlib"):
        chandlery.qlib.init(database_url)
