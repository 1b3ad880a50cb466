"""The folder for Qlib holds what the database holds, after whatever came before, and is never half of anything."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candles import START, candles, changed, series
from chandlery.domain.span import Span
from chandlery.errors import ConfigurationError, ConnectionError, DataNotFoundError, DataValidationError, StorageError
from chandlery.services.export_qlib import Selection, export_qlib, replacing, writing
from chandlery.services.export_qlib.checking import check_folder
from chandlery.services.export_qlib.reading import QlibFolder
from chandlery.storage.postgres import PostgreSQLStorage
from exported import contents, store, with_holes

HOUR, DAY = 3_600_000, 86_400_000
EVERYTHING = Selection()
FIELDS = ("open", "high", "low", "close", "volume", "amount", "vwap", "change", "factor")


def assert_holds_the_database(storage: PostgreSQLStorage, folder: Path) -> None:
    """Every stored candle at its time, bit for bit in float32, and NaN everywhere else."""
    reader = QlibFolder(folder)
    freqs = {"1m": "1min", "1h": "60min", "1d": "day", "1w": "1week", "1M": "1month"}
    for entry in storage.ledger.entries():
        of, freq = entry.series, freqs[entry.series.timeframe.name]
        batch = storage.reader.candles(of, Span(0, 4_000_000_000_000))
        times = reader.calendar(freq).astype("M8[ms]").astype(np.int64)
        expected = np.full(len(times), np.nan, dtype=np.float32)
        for field, stored in (("close", "close"), ("volume", "base_volume"), ("amount", "quote_volume")):
            expected[np.searchsorted(times, batch.open_time)] = getattr(batch, stored)
            assert np.array_equal(reader.feature(of.symbol, field, freq), expected, equal_nan=True)
        for field in FIELDS:
            values = reader.feature(of.symbol, field, freq)
            assert np.count_nonzero(~np.isnan(values)) == len(batch) - (field == "change")


@pytest.fixture
def market(storage: PostgreSQLStorage) -> PostgreSQLStorage:
    """Two symbols in several timeframes with holes, listed at different times."""
    store(
        storage,
        with_holes(series("BTC-USDT", "1m"), 300, start=START),
        with_holes(series("BTC-USDT", "1d"), 40, start=START),
        with_holes(series("ETH-USDT", "1d"), 25, start=START + 10 * DAY, seed=5),
        with_holes(series("ETH-USDT", "1h"), 100, start=START + 10 * DAY + 8 * HOUR, seed=6),
        candles(series("ETH-USDT", "1w"), 5, start=START),
        candles(series("ETH-USDT", "1M"), 3, start=START),
    )
    return storage


def test_what_qlib_reads_is_what_is_stored(market: PostgreSQLStorage, tmp_path: Path) -> None:
    report = export_qlib(market, tmp_path / "qlib", EVERYTHING)
    assert report.outcome == "new"
    assert_holds_the_database(market, tmp_path / "qlib")
    assert check_folder(tmp_path / "qlib") == []
    assert {path.name for path in (tmp_path / "qlib" / "calendars").iterdir()} == {
        "1min.txt", "60min.txt", "day.txt", "1week.txt", "1month.txt",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["qlib"]


def test_the_spans_of_instruments_cut_off_no_bar_of_any_frequency(market: PostgreSQLStorage, tmp_path: Path) -> None:
    """The list is shared by all frequencies: from the first day to the last second of the last day, in any of them."""
    export_qlib(market, tmp_path / "qlib", Selection(symbols=["ETH-USDT"], since=START + 10 * DAY))
    text = (tmp_path / "qlib" / "instruments" / "all.txt").read_text()
    assert text == "ETH-USDT\t2024-01-11 00:00:00\t2024-03-31 23:59:59\n"


def test_the_report_counts_candles_gaps_and_losses(market: PostgreSQLStorage, tmp_path: Path) -> None:
    report = export_qlib(market, tmp_path / "qlib", Selection(symbols=["BTC-USDT"]))
    [minutes] = [row for row in report.series if row.timeframe == "1m"]
    opens = with_holes(series("BTC-USDT", "1m"), 300, start=START).open_time
    assert minutes.candles == len(opens)
    assert minutes.missing == 300 - len(opens)
    assert minutes.gaps == np.count_nonzero(np.diff(opens) > 60_000)
    assert 0 < report.losses.worst["close"] < 6e-8


def test_pieces_leave_no_seam(market: PostgreSQLStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_qlib(market, tmp_path / "whole", EVERYTHING)
    monkeypatch.setattr(writing, "PIECE_BARS", 7)
    export_qlib(market, tmp_path / "pieces", EVERYTHING)
    assert contents(tmp_path / "pieces") == contents(tmp_path / "whole")


def test_a_second_export_changes_nothing(market: PostgreSQLStorage, tmp_path: Path) -> None:
    export_qlib(market, tmp_path / "qlib", EVERYTHING)
    before = (tmp_path / "qlib").stat().st_ino
    assert export_qlib(market, tmp_path / "qlib", EVERYTHING).outcome == "unchanged"
    assert (tmp_path / "qlib").stat().st_ino == before


def test_new_candles_at_the_end_are_an_append_even_after_a_gap(market: PostgreSQLStorage, tmp_path: Path) -> None:
    """A symbol that pauses while others go on, then comes back: later rows must not move into the pause."""
    export_qlib(market, tmp_path / "qlib", EVERYTHING)
    store(market, candles(series("BTC-USDT", "1d"), 20, start=START + 40 * DAY, seed=3))
    assert export_qlib(market, tmp_path / "qlib", EVERYTHING).outcome == "appended"
    store(market, candles(series("ETH-USDT", "1d"), 3, start=START + 58 * DAY, seed=4))
    assert export_qlib(market, tmp_path / "qlib", EVERYTHING).outcome == "appended"
    assert_holds_the_database(market, tmp_path / "qlib")
    export_qlib(market, tmp_path / "fresh", EVERYTHING)
    assert contents(tmp_path / "qlib") == contents(tmp_path / "fresh")


def test_history_in_front_rewrites_every_row(market: PostgreSQLStorage, tmp_path: Path) -> None:
    export_qlib(market, tmp_path / "qlib", EVERYTHING)
    store(market, candles(series("BTC-USDT", "1d"), 9, start=START - 9 * DAY))
    report = export_qlib(market, tmp_path / "qlib", EVERYTHING)
    assert (report.outcome, report.why) == ("rewritten", "the calendar day begins or ends at another time than before")
    assert_holds_the_database(market, tmp_path / "qlib")


def test_a_revised_candle_rewrites_and_is_named(market: PostgreSQLStorage, tmp_path: Path) -> None:
    export_qlib(market, tmp_path / "qlib", EVERYTHING)
    store(market, changed(with_holes(series("BTC-USDT", "1d"), 40, start=START), slice(5, 6)))
    report = export_qlib(market, tmp_path / "qlib", EVERYTHING)
    assert report.outcome == "rewritten"
    assert "of BTC-USDT in day has other values" in report.why
    assert_holds_the_database(market, tmp_path / "qlib")


def test_a_symbol_that_is_no_longer_wanted_goes(market: PostgreSQLStorage, tmp_path: Path) -> None:
    export_qlib(market, tmp_path / "qlib", EVERYTHING)
    report = export_qlib(market, tmp_path / "qlib", Selection(symbols=["ETH-USDT"]))
    assert report.outcome == "rewritten"
    assert [path.name for path in (tmp_path / "qlib" / "features").iterdir()] == ["eth-usdt"]


def test_a_damaged_folder_is_put_right(market: PostgreSQLStorage, tmp_path: Path) -> None:
    export_qlib(market, tmp_path / "qlib", EVERYTHING)
    whole = contents(tmp_path / "qlib")
    (tmp_path / "qlib" / "features" / "btc-usdt" / "close.day.bin").write_bytes(b"1234")
    (tmp_path / "qlib" / "calendars" / "day.txt").unlink()
    assert export_qlib(market, tmp_path / "qlib", EVERYTHING).outcome == "rewritten"
    assert contents(tmp_path / "qlib") == whole


def test_lists_that_people_added_are_kept_and_values_that_may_shift_are_refused(
    market: PostgreSQLStorage, tmp_path: Path
) -> None:
    export_qlib(market, tmp_path / "qlib", EVERYTHING)
    mine = tmp_path / "qlib" / "instruments" / "mine.txt"
    mine.write_text("BTC-USDT\t2024-01-01\t2024-03-01\n")
    store(market, candles(series("BTC-USDT", "1d"), 1, start=START + 50 * DAY))
    for _ in range(2):
        export_qlib(market, tmp_path / "qlib", EVERYTHING)
        assert mine.read_text().startswith("BTC-USDT")
    (tmp_path / "qlib" / "features" / "btc-usdt" / "mine.day.bin").write_bytes(b"12345678")
    with pytest.raises(ConfigurationError, match=r"mine\.day\.bin"):
        export_qlib(market, tmp_path / "qlib", EVERYTHING)


def test_a_folder_of_other_things_is_not_touched(market: PostgreSQLStorage, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mother.txt").write_text("dear")
    with pytest.raises(ConfigurationError, match="did not export"):
        export_qlib(market, tmp_path / "letters", EVERYTHING)
    assert contents(tmp_path / "letters") == {"to-mother.txt": b"dear"}


def test_nothing_stored_and_names_that_qlib_cannot_have_are_told(storage: PostgreSQLStorage, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError):
        export_qlib(storage, tmp_path / "qlib", EVERYTHING)
    store(storage, candles(series("NULL", "1d"), 2))
    with pytest.raises(DataValidationError, match="NULL"):
        export_qlib(storage, tmp_path / "qlib", EVERYTHING)
    with pytest.raises(DataNotFoundError, match="Did you mean"):
        export_qlib(storage, tmp_path / "qlib", Selection(symbols=["NUL"]))
    assert not (tmp_path / "qlib").exists()


def test_what_is_not_read_back_as_it_is_replaces_nothing(
    market: PostgreSQLStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row too far, as an old start index after new history would be."""
    export_qlib(market, tmp_path / "qlib", EVERYTHING)
    before = contents(tmp_path / "qlib")
    honest = writing.dense
    monkeypatch.setattr(writing, "dense", lambda *given: np.roll(honest(*given), 1))
    store(market, candles(series("BTC-USDT", "1d"), 2, start=START + 50 * DAY))
    with pytest.raises(StorageError, match="not read back"):
        export_qlib(market, tmp_path / "qlib", EVERYTHING)
    assert contents(tmp_path / "qlib") == before


def test_a_lost_database_is_told_as_such_and_not_as_a_full_disk(market: PostgreSQLStorage, tmp_path: Path) -> None:
    def lose(*_: object) -> None:
        raise ConnectionError("PostgreSQL is gone.")

    with pytest.raises(ConnectionError):
        export_qlib(market, tmp_path / "qlib", EVERYTHING, lose)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_two_processes_do_not_export_into_one_folder(database_url: str, tmp_path: Path) -> None:
    with replacing.aside(tmp_path / "qlib"):
        process = os.fork()
        if process == 0:
            try:
                with PostgreSQLStorage(database_url) as storage:
                    export_qlib(storage, tmp_path / "qlib", EVERYTHING)
            except StorageError as error:
                os._exit(7 if "by another process" in str(error) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rounds=st.lists(
        st.tuples(st.sampled_from(["AAA-USDT", "BBB-USDT"]), st.integers(-40, 60), st.integers(1, 30)),
        min_size=2,
        max_size=3,
    )
)
def test_bringing_up_to_date_equals_a_fresh_export_byte_for_byte(
    new_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[str, int, int]]
) -> None:
    """Whatever comes in between, before, behind or over what is there."""
    folder = tmp_path_factory.mktemp("qlib")
    with PostgreSQLStorage(new_database()) as storage:
        for seed, (symbol, day, count) in enumerate(rounds):
            store(storage, with_holes(series(symbol, "1d"), count, start=START + day * DAY, seed=seed))
            export_qlib(storage, folder / "grown", EVERYTHING)
        export_qlib(storage, folder / "fresh", EVERYTHING)
        assert_holds_the_database(storage, folder / "grown")
    assert contents(folder / "grown") == contents(folder / "fresh")


@pytest.mark.parametrize("exchange_in_one_step", [True, False], ids=["exchanged", "moved"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(
    market: PostgreSQLStorage,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exchange_in_one_step: bool,
) -> None:
    """A process is killed before the n-th change of the disk, for every n from the end backwards and some others."""
    if not exchange_in_one_step:
        monkeypatch.setattr(replacing, "_exchange", lambda *_: False)
    folder, spare = tmp_path / "out" / "qlib", tmp_path / "spare"
    days = Selection(timeframes=[series("X", "1d").timeframe])
    export_qlib(market, folder, days)
    old = contents(folder)
    store(market, candles(series("BTC-USDT", "1d"), 5, start=START + 40 * DAY))
    export_qlib(market, tmp_path / "new", days)
    new = contents(tmp_path / "new")
    shutil.copytree(folder, spare)

    def kill_at(moment: int) -> int:
        shutil.rmtree(folder.parent)
        shutil.copytree(spare, folder)
        return _export_and_die(database_url, folder, days, moment, exchange_in_one_step)

    changes = kill_at(10**9)
    assert changes > 20
    late = range(changes - 9, changes + 1)
    for moment in [1, 2, 5, *range(10, changes - 9, 30), *late]:
        assert kill_at(moment) == -signal.SIGKILL
        if exchange_in_one_step:
            assert contents(folder) in (old, new), moment
        export_qlib(market, folder, days)
        assert contents(folder) == new, moment
        assert [path for path in folder.parent.iterdir() if path.suffix != ".lock"] == [folder]


def _export_and_die(url: str, folder: Path, what: Selection, moment: int, in_one_step: bool) -> int:
    """Export in a process of its own that kills itself at the ``moment``-th change; how many there were if it lives."""
    process = os.fork()
    if process == 0:
        seen = 0

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
            if writes or event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"):
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            with PostgreSQLStorage(url) as storage:
                export_qlib(storage, folder, what)
        finally:
            os._exit(min(seen, 255))
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)
