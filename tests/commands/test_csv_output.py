"""``--output csv`` and ``--output both``: the one setting decides, and what is on file is not fetched again."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pandas as pd
from market import MIDNIGHT, MINUTE, asked, assert_complete, days, market_candles, pages_served, series, wait_until

from chandlery import CsvStore
from chandlery.domain.candle import same_values
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.simulator import Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell

SERIES = series("BTC-USDT")
COLLECT = ("collect", "BTC-USDT", "--since", "2024-02-28", "--output")


def test_files_alone_need_no_database_and_any_program_reads_them(shell: Shell, exchange: Simulator) -> None:
    done = shell.run(*COLLECT, "csv", CHANDLERY_DATABASE_URL="postgresql://u@127.0.0.1:1/none")
    assert done.code == 0, done.text
    folder = shell.folder / "data" / "klines"
    assert_file_complete(folder, exchange, days(2))
    [file] = folder.rglob("*.csv")
    frame = pd.read_csv(file, parse_dates=["timestamp"])
    assert list(frame.columns) == ["timestamp", "open", "high", "low", "close", "volume", "quote_volume"]
    assert len(frame) == 2 * 1_440

    exchange.journal.clear()
    assert shell.run(*COLLECT, "csv").code == 0
    assert asked(exchange, SERIES) == []


def test_both_stores_get_everything_and_the_one_that_lacks_something_gets_that(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    folder = shell.folder / "files"
    to_files = ("--csv-folder", str(folder))
    first = shell.run("collect", "BTC-USDT", "--since", "2024-02-29", "--output", "both", *to_files)
    assert first.code == 0, first.text
    assert_complete(storage, exchange, SERIES, days(1))
    assert_file_complete(folder, exchange, days(1))

    assert shell.run(*COLLECT, "csv", *to_files).code == 0  # now the files have a day more
    exchange.journal.clear()
    assert shell.run(*COLLECT, "both", *to_files).code == 0
    assert Spans(asked(exchange, SERIES)) == Spans([days(2, 1)])
    assert_complete(storage, exchange, SERIES, days(2))
    assert_file_complete(folder, exchange, days(2))


def test_a_killed_run_leaves_a_readable_file_and_the_next_one_completes_it(shell: Shell, exchange: Simulator) -> None:
    folder = shell.folder / "data" / "klines"
    paced = {"CHANDLERY_DATA_COLLECTION_HISTORY_LIMIT": "100"}
    job = ("collect", "BTC-USDT", "--since", "2024-02-10", "--output", "csv")
    collecting = shell.start(*job, **paced)
    wait_until(lambda: pages_served(exchange) > 60)
    collecting.interrupt(signal.SIGKILL)
    on_file = CsvStore(folder).spans(SERIES)
    assert 0 < on_file.length < days(20).length

    exchange.journal.clear()
    assert shell.run(*job).code == 0
    assert Spans(asked(exchange, SERIES)) == Spans([days(20)]) - on_file
    assert_file_complete(folder, exchange, days(20))


def test_the_specifications_collector_writes_files_too(shell: Shell, exchange: Simulator) -> None:
    done = shell.script(
        "okx_data_collector.py",
        *("--symbols", "BTC-USDT", "--start_time", "2024-02-29", "--output", "csv", "--run-once"),
    )
    assert done.code == 0, done.text
    assert_file_complete(shell.folder / "data" / "klines", exchange, days(1))


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(shell: Shell) -> None:
    (shell.folder / "data").write_text("a file where the folder should be")
    done = shell.run(*COLLECT, "csv")
    assert done.code == 3
    assert "data" in done.err
    assert "Traceback" not in done.err


def assert_file_complete(folder: Path, exchange: Simulator, span: Span, of: Series = SERIES) -> None:
    """The file has every candle of the market in ``span``, to the last bit, and none besides."""
    stored, market = CsvStore(folder).read(of), market_candles(exchange, of, span)
    assert np.array_equal(stored.open_time, market.open_time)
    assert same_values(stored, market).all()
    assert int(stored.open_time[-1]) == MIDNIGHT - MINUTE
