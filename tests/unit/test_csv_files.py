"""The CSV store gives back every bit, merges, survives crashes and a second writer, and harms no foreign file."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import fasteners
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.domain.candle import COLUMNS, VALUE_COLUMNS, CandleBatch, same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import timeframe
from chandlery.errors import DataNotFoundError, DataValidationError, StorageError
from chandlery.storage import csv_files
from chandlery.storage.csv_files import CsvCounts, CsvStore

START = 1_704_067_200_000  # 2024-01-01
MINUTE = 60_000
SERIES = Series("okx", "BTC-USDT", timeframe("1m"))
LINES = ["timestamp,open,high,low,close,volume,quote_volume", "2024-01-01T00:00:00Z,1,1,1,1,1,"]


def batch(*numbers: int, value: float = 1.0, series: Series = SERIES) -> CandleBatch:
    """Candles of the minutes with these numbers."""
    columns = dict.fromkeys(VALUE_COLUMNS, np.full(len(numbers), value))
    return CandleBatch.of(series, {"open_time": START + MINUTE * np.array(numbers, dtype=np.int64), **columns})


def minutes(candles: CandleBatch) -> list[int]:
    return [(time - START) // MINUTE for time in candles.open_time.tolist()]


@pytest.fixture
def store(tmp_path: Path) -> CsvStore:
    return CsvStore(tmp_path)


def test_a_file_looks_as_documented_and_pandas_reads_it(store: CsvStore) -> None:
    candles = CandleBatch.of(
        SERIES,
        {
            "open_time": [START, START + MINUTE],
            "open": [42283.58, 100.0],
            "high": [42298.62, 1e-12],
            "low": [0.1, 1e22],
            "close": [1.0, 2.0],
            "base_volume": [0.0, 35.92724],
            "quote_volume": [1519032.5, np.nan],
        },
    )
    store.save(candles)
    path = store.folder / "BTC-USDT_1m.csv"
    assert path.read_text() == (
        "timestamp,open,high,low,close,volume,quote_volume\n"
        "2024-01-01T00:00:00Z,42283.58,42298.62,0.1,1,0,1519032.5\n"
        "2024-01-01T00:01:00Z,100,1e-12,1e+22,2,35.92724,\n"
    )
    assert len(pd.read_csv(path, parse_dates=["timestamp"])) == 2


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(FINITE, FINITE, FINITE, FINITE, FINITE, FINITE | st.just(float("nan"))), min_size=1))
@settings(max_examples=50)
def test_every_double_comes_back_bit_by_bit(rows: list[tuple[float, ...]]) -> None:
    columns = dict(zip(VALUE_COLUMNS, np.array(rows).T, strict=True))
    candles = CandleBatch.of(SERIES, {"open_time": START + MINUTE * np.arange(len(rows)), **columns})
    with tempfile.TemporaryDirectory() as folder:
        CsvStore(folder).save(candles)
        found = CsvStore(folder).read(SERIES)
    for name in COLUMNS[:-1]:
        assert getattr(found, name).tobytes() == getattr(candles, name).tobytes()
    assert same_values(found, candles).all()


@pytest.mark.parametrize("name", ["open", "close", "base_volume"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_finite_number_is_never_written(store: CsvStore, name: str, value: float) -> None:
    columns = {**batch(0).columns(), name: [value]}
    with pytest.raises(DataValidationError, match=name):
        store.save(CandleBatch.of(SERIES, columns))
    assert not store.path(SERIES).exists()


_STEPS = st.lists(
    st.tuples(st.sets(st.integers(0, 30), min_size=1).map(sorted), st.sampled_from([1.0, 2.0])), max_size=8
)


@given(_STEPS)
@settings(max_examples=60)
def test_the_store_is_a_dict_of_candles_in_which_the_newest_values_win(steps: list[tuple[list[int], float]]) -> None:
    model: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = CsvStore(folder)
        for numbers, value in steps:
            counts = store.save(batch(*numbers, value=value))
            assert counts == CsvCounts(
                inserted=sum(n not in model for n in numbers),
                unchanged=sum(model.get(n) == value for n in numbers),
                revised=sum(n in model and model[n] != value for n in numbers),
            )
            model |= dict.fromkeys(numbers, value)
            found = CsvStore(folder).read(SERIES)
            assert dict(zip(minutes(found), found.close.tolist(), strict=True)) == model
            assert minutes(found) == sorted(model)
            assert store.spans(SERIES) == CsvStore(folder).spans(SERIES) == found.runs()


def test_saving_the_same_again_leaves_the_file_alone(store: CsvStore) -> None:
    store.save(batch(0, 1, 2))
    before = store.path(SERIES).stat()
    assert store.save(batch(1, 2)) == CsvCounts(unchanged=2)
    assert store.save(batch()) == CsvCounts()
    after = store.path(SERIES).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_candles_at_the_end_are_appended_and_not_written_anew(store: CsvStore) -> None:
    store.save(batch(0))
    inode = store.path(SERIES).stat().st_ino
    for number in range(1, 50):
        store.save(batch(number))
    assert store.path(SERIES).stat().st_ino == inode
    assert minutes(store.read(SERIES)) == list(range(50))


def test_a_batch_too_large_to_append_replaces_the_file(store: CsvStore) -> None:
    store.save(batch(0))
    inode = store.path(SERIES).stat().st_ino
    store.save(batch(*range(1, 60_000)))
    assert store.path(SERIES).stat().st_ino != inode
    assert len(store.read(SERIES)) == 60_000


def test_reading_takes_a_half_open_span(store: CsvStore) -> None:
    store.save(batch(0, 1, 2, 3))
    assert minutes(store.read(SERIES, START + MINUTE, START + 3 * MINUTE)) == [1, 2]
    assert minutes(store.read(SERIES, end=START + 1)) == [0]
    assert minutes(store.read(SERIES, START + 3 * MINUTE, START)) == []
    assert minutes(store.read(SERIES, START - 1)) == [0, 1, 2, 3]


def test_a_series_without_a_file_has_no_spans_and_cannot_be_read(store: CsvStore) -> None:
    assert store.spans(SERIES) == Spans()
    assert store.series() == []
    with pytest.raises(DataNotFoundError, match="BTC-USDT 1m"):
        store.read(SERIES)


def test_what_is_covered_is_what_is_on_file_also_if_another_program_changes_it(store: CsvStore) -> None:
    store.save(batch(0, 1, 5))
    assert store.spans(SERIES) == Spans([Span(START, START + 2 * MINUTE), Span(START + 5 * MINUTE, START + 6 * MINUTE)])
    store.path(SERIES).write_text("\n".join(LINES) + "\n")
    assert store.spans(SERIES) == Spans([Span(START, START + MINUTE)])
    store.path(SERIES).unlink()
    assert store.spans(SERIES) == Spans()
    assert store.save(batch(7)) == CsvCounts(inserted=1)


# --- names


def test_minute_and_month_differ_also_where_case_does_not_matter(store: CsvStore) -> None:
    month = Series("okx", "BTC-USDT", timeframe("1M"))
    assert store.path(month).name == "BTC-USDT_1mo.csv"
    assert store.path(SERIES).name == "BTC-USDT_1m.csv"


def test_every_series_is_found_again_and_no_foreign_file(store: CsvStore) -> None:
    saved = [
        Series(exchange, symbol, timeframe(name))
        for exchange in ("okx", "okx-demo")
        for symbol in ("BTC-USDT", "BTC-USD_UM-SWAP")
        for name in ("1m", "1M")
    ]
    for series in saved:
        store.save(CandleBatch.of(series, dict.fromkeys(COLUMNS, np.array([START]))))
    for name in ("notes.csv", "btc-usdt_1m.csv", "BTC-USDT_7m.csv", "_1m.csv"):
        (store.folder / name).touch()
    assert set(store.series()) == set(saved)
    assert all(len(store.read(series)) == 1 for series in saved)


def test_demo_candles_never_meet_real_ones(store: CsvStore) -> None:
    demo = Series("okx-demo", "BTC-USDT", timeframe("1m"))
    store.save(batch(0))
    store.save(batch(1, series=demo))
    assert minutes(store.read(SERIES)) == [0]
    assert minutes(store.read(demo)) == [1]


@pytest.mark.parametrize("symbol", ["../BTC", "/etc/passwd", "A/B", "..", "A\0B", "", "btc-usdt"])
def test_no_symbol_leads_out_of_the_folder(store: CsvStore, symbol: str) -> None:
    with pytest.raises(DataValidationError):
        store.path(Series("okx", symbol, timeframe("1m")))


@pytest.mark.parametrize("exchange", ["..", "a/b", "", ".locks"])
def test_no_exchange_leads_out_of_the_folder(store: CsvStore, exchange: str) -> None:
    with pytest.raises(DataValidationError):
        store.path(Series(exchange, "BTC-USDT", timeframe("1m")))


# --- crashes and damage


def test_a_crash_at_any_byte_of_an_append_loses_only_what_was_not_saved_yet(tmp_path: Path) -> None:
    before, after = CsvStore(tmp_path / "a"), CsvStore(tmp_path / "a")
    before.save(batch(0, 1))
    path = before.path(SERIES)
    length = path.stat().st_size
    after.save(batch(2, 3))
    whole = path.read_bytes()
    for cut in range(length, len(whole) + 1):
        path.write_bytes(whole[:cut])
        store = CsvStore(tmp_path / "a")
        found = minutes(store.read(SERIES))
        assert found == [0, 1, 2, 3][: 2 + whole[length:cut].count(b"\n")]
        store.save(batch(2, 3))
        assert path.read_bytes() == whole


def test_blocks_that_never_reached_the_disk_are_no_candles(store: CsvStore) -> None:
    store.save(batch(0, 1))
    path = store.path(SERIES)
    whole = path.read_bytes()
    path.write_bytes(whole + b"2024-01-01T00:02:00Z,1,1" + b"\0" * 100 + b"00Z,1,1,1,1,1,1\n2024")
    assert minutes(store.read(SERIES)) == [0, 1]
    store.save(batch(2))
    assert minutes(store.read(SERIES)) == [0, 1, 2]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("content", ["", LINES[0][:20], LINES[0], LINES[0] + "\n"])
def test_a_file_that_was_only_begun_is_empty(store: CsvStore, content: str) -> None:
    store.path(SERIES).write_text(content)
    assert len(store.read(SERIES)) == 0
    assert store.spans(SERIES) == Spans()
    store.save(batch(0))
    assert minutes(store.read(SERIES)) == [0]


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["time,price", "1,2"], "line 1"),
        ([LINES[0] + ",more", LINES[1] + ",1"], "line 1"),
        (["not a csv file at all"], ""),
        ([*LINES, "2024-01-01T00:01:00Z,1,1", "2024-01-01T00:02:00Z,1,1,1,1,1,1"], "line 3"),
        ([*LINES, "2024-01-01T00:01:00Z,1,1,1,1,1,1,1"], "line 3"),
        ([*LINES, "", "2024-01-01T00:01:00Z,1,1,1,1,1,1"], "line 3"),
        ([*LINES, "2024-01-01 00:01:00,1,1,1,1,1,1"], "line 3"),
        ([*LINES, "2024-01-01T00:01:00Z,1,x,1,1,1,1"], "line 3"),
        ([*LINES, "2024-01-01T00:01:00Z,1,,1,1,1,1"], "line 3"),
        ([*LINES, "2024-01-01T00:01:00Z,1,nan,1,1,1,1"], "line 3"),
        ([*LINES, "2024-01-01T00:01:00Z,1,1,1,1,inf,1"], "line 3"),
        ([*LINES, "2024-01-01T00:00:30Z,1,1,1,1,1,1"], "line 3"),
        ([*LINES, "2024-01-01T00:00:00Z,1,1,1,1,1,1"], "line 3"),
        ([*LINES, "2023-12-31T23:59:00Z,1,1,1,1,1,1"], "line 3"),
    ],
)
def test_a_damaged_or_foreign_file_is_named_with_the_line_and_left_alone(
    store: CsvStore, lines: list[str], place: str
) -> None:
    path = store.path(SERIES)
    content = "\n".join(lines) + ("\n" if place else "")
    path.write_text(content)
    for work in (lambda: store.read(SERIES), lambda: store.spans(SERIES), lambda: store.save(batch(9))):
        with pytest.raises(StorageError) as caught:
            work()
        assert str(path) in str(caught.value)
        assert place in str(caught.value)
        assert caught.value.hint
    assert path.read_text() == content


def test_line_ends_of_other_systems_are_read(store: CsvStore) -> None:
    store.path(SERIES).write_bytes("\r\n".join([*LINES, ""]).encode())
    assert minutes(store.read(SERIES)) == [0]
    store.save(batch(1))
    assert minutes(store.read(SERIES)) == [0, 1]


def test_a_full_disk_changes_nothing(store: CsvStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(batch(0, 2))
    before = store.path(SERIES).read_bytes()

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    for candles in (batch(3), batch(1)):
        with pytest.raises(StorageError, match="No space left"):
            store.save(candles)
        assert store.path(SERIES).read_bytes() == before
    monkeypatch.undo()
    store.save(batch(1, 3))
    assert minutes(store.read(SERIES)) == [0, 1, 2, 3]
    assert [path.name for path in store.folder.iterdir() if path.is_file()] == ["BTC-USDT_1m.csv"]


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        CsvStore(tmp_path / "file" / "folder").save(batch(0))


# --- several writers


def _save_every_third(folder: str, first: int) -> None:
    store = CsvStore(folder)
    for number in range(first, 60, 3):
        store.save(batch(number))


def test_three_processes_lose_none_of_each_others_candles(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_save_every_third, args=(str(tmp_path), n)) for n in range(2)]
    for worker in workers:
        worker.start()
    _save_every_third(str(tmp_path), 2)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert minutes(CsvStore(tmp_path).read(SERIES)) == list(range(60))


def test_threads_with_stores_of_their_own_lose_none_of_each_others_candles(tmp_path: Path) -> None:
    threads = [threading.Thread(target=_save_every_third, args=(str(tmp_path), n)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert minutes(CsvStore(tmp_path).read(SERIES)) == list(range(60))


@pytest.fixture
def another_writer(tmp_path: Path) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    worker = context.Process(target=_hold_the_lock, args=(str(tmp_path), ready, done))
    worker.start()
    ready.wait()
    yield
    done.set()
    worker.join()


def _hold_the_lock(folder: str, ready: threading.Event, done: threading.Event) -> None:
    with fasteners.InterProcessLock(Path(folder) / ".locks" / "BTC-USDT_1m.csv.lock"):
        ready.set()
        done.wait()


@pytest.mark.usefixtures("another_writer")
def test_a_file_that_stays_locked_is_an_error_and_reading_goes_on(tmp_path: Path) -> None:
    store = CsvStore(tmp_path, lock_timeout_s=0.05)
    with pytest.raises(StorageError, match=r"locked by another writer for 0\.05 s"):
        store.save(batch(0))
    assert store.spans(SERIES) == Spans()
    assert csv_files._THREAD_LOCKS[store.path(SERIES).resolve()].locked() is False


def test_the_proved_start_of_history_is_remembered(tmp_path: Path) -> None:
    series = Series("okx", "BTC-USDT", timeframe("1M"))
    store = CsvStore(tmp_path)
    assert store.beginning(series) is None
    store.remember_beginning(series, 1_515_669_120_000)
    assert CsvStore(tmp_path).beginning(series) == 1_515_669_120_000
    assert store.series() == []
