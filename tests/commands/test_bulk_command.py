"""``chandlery collect --bulk``: files of candles where they save requests, never, or nothing else."""

from __future__ import annotations

import signal

import pytest
from market import DAY, MIDNIGHT, assert_complete, pages_served, series, wait_until

from chandlery.domain.span import Span
from chandlery.simulator import FaultKind, Simulator
from chandlery.simulator.endpoints import FILES
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell

ONE = series("BTC-USDT")
JANUARY = Span(MIDNIGHT - 60 * DAY, MIDNIGHT - 29 * DAY)
COLLECT = ("collect", "BTC-USDT", "--since", "2024-01-01", "--until", "2024-01-31")


def files(exchange: Simulator) -> list[str]:
    return [request.file for request in exchange.journal.requests if request.file and request.status == 200]


def test_auto_is_the_default_and_tells_what_came_from_files(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    done = shell.run(*COLLECT, "--json", CHANDLERY_DATA_COLLECTION_BULK="")
    assert done.code == 0, done.text
    (report,) = done.json["series"]
    assert (report["complete"], report["inserted"]) == (True, 31 * 1_440)
    assert report["from_files"] == 31 * 1_440 - 8 * 60, "the month of the file ends eight hours before that of UTC"
    assert done.json["requests"] == len(exchange.journal.requests)
    assert files(exchange) == ["BTC-USDT-candlesticks-2024-01.zip"]
    assert pages_served(exchange) == 2
    assert_complete(storage, exchange, ONE, JANUARY)


def test_the_table_has_a_column_for_files_where_there_were_some(shell: Shell, exchange: Simulator) -> None:
    two_days = ("collect", "BTC-USDT", "--since", "2024-01-30", "--until", "2024-01-31")
    by_files = shell.run(*two_days, "--bulk", "only")
    assert by_files.code == 0, by_files.text
    assert "from files" in by_files.out
    assert "2,880" in by_files.out
    assert not any(request.bar for request in exchange.journal.requests)
    assert "from files" not in shell.run(*two_days).out


def test_only_is_incomplete_where_there_are_no_files_yet(shell: Shell) -> None:
    done = shell.run("collect", "BTC-USDT", "--since", "2024-02-28", "--bulk", "only", "--json")
    assert done.code == 1, done.text
    (report,) = done.json["series"]
    assert report["missing"] == [{"start": "2024-02-28T16:00:00Z", "end": "2024-03-01T00:00:00Z"}]
    assert report["error"] is None
    told = shell.run("collect", "BTC-USDT", "--since", "2024-02-28", "--bulk", "only").out
    assert "The files have no more so far; --bulk auto fetches the rest as pages." in told
    assert "the same again" not in told


def test_a_bad_file_is_told_and_replaced_by_pages(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    exchange.arm(FaultKind.TRUNCATED_ZIP, endpoint=FILES)
    week = ("collect", "BTC-USDT", "--since", "2024-01-01", "--until", "2024-01-07", "--bulk", "auto")
    done = shell.run(*week)
    assert done.code == 0, done.text
    assert "file not used" in done.err
    assert "BTC-USDT-candlesticks-2024-01.zip" in done.err
    assert_complete(storage, exchange, ONE, Span(JANUARY.start, JANUARY.start + 7 * DAY))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_the_next_run_goes_on_after_files(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage, number: signal.Signals
) -> None:
    """Twenty days, a file each, at the assumed rate of downloads; stopped after a few of them."""
    days = ("collect", "BTC-USDT", "--since", "2024-02-08", "--until", "2024-02-27", "--bulk", "auto")
    collecting = shell.start(*days, CHANDLERY_DATA_COLLECTION_FILES_LIMIT="5")
    wait_until(lambda: len(files(exchange)) > 4)
    stopped = collecting.interrupt(number)
    assert stopped.code == (130 if number is signal.SIGINT else -signal.SIGKILL)
    begun = len(files(exchange))
    assert begun < 20
    assert shell.run(*days).code == 0
    assert len(files(exchange)) <= 20 + 3, "only what was under way at the stop was fetched twice"
    assert_complete(storage, exchange, ONE, Span(MIDNIGHT - 22 * DAY, MIDNIGHT - 2 * DAY))


def test_an_unknown_way_is_a_usage_error(shell: Shell) -> None:
    done = shell.run(*COLLECT, "--bulk", "sometimes")
    assert done.code == 2
    assert "data_collection.bulk" in done.err or "--bulk" in done.err
    assert "auto" in done.err
