"""Collectors side by side share nothing but the database, and no candle is fetched by two of them."""

from __future__ import annotations

import pytest
from market import assert_complete, days, series

from chandlery.simulator import Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell

SYMBOLS = ("BTC-USDT", "ETH-USDT", "BTC-USDT-SWAP", "ETH-USDT-SWAP")


@pytest.mark.parametrize("collectors", [2, 4])
def test_the_same_job_several_times_is_done_once(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage, collectors: int
) -> None:
    job = ("collect", *SYMBOLS[:3], "-t", "1m,1h", "--since", "2024-02-27", "--json")
    running = [shell.start(*job) for _ in range(collectors)]
    done = [one.done() for one in running]
    assert [one.code for one in done] == [0] * collectors, [one.err for one in done]
    assert exchange.journal.served_twice() == []
    for symbol in SYMBOLS[:3]:
        assert_complete(storage, exchange, series(symbol), days(3))
        assert_complete(storage, exchange, series(symbol, "1h"), days(3))
    stored = [sum(report["inserted"] for report in one.json["series"]) for one in done]
    assert sum(stored) == 3 * 3 * (1_440 + 24), "the reports of all collectors together tell what was stored"


def test_new_instruments_in_new_timeframes_are_stored_once_by_collectors_that_start_together(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    """Nothing of them exists before, neither instrument nor partition; some are fetched, some are rolled up."""
    intervals = ("5m", "30m", "2h", "12h", "1d", "1w")
    job = ("collect", "SOL-USDT", "SHIB-USDT", "-t", ",".join(intervals), "--since", "2024-02-18", "--json")
    running = [shell.start(*job, *rolled) for rolled in ((), ("--from", "5m"), ("--from", "5m"))]
    done = [one.done() for one in running]
    assert [one.code for one in done] == [0] * 3, [one.err for one in done]
    assert [one.err.count("deadlock") for one in done] == [0] * 3
    stored = [sum(report["inserted"] for report in one.json["series"]) for one in done]
    assert sum(stored) == 2 * 12 * (288 + 48 + 12 + 2 + 1) + 2 * 1
    for symbol in ("SOL-USDT", "SHIB-USDT"):
        for interval in intervals:
            one = series(symbol, interval)
            whole = one.timeframe.aligned(days(12))
            assert whole is not None
            assert_complete(storage, exchange, one, whole)


def test_overlapping_jobs_fetch_the_overlap_once(shell: Shell, exchange: Simulator, storage: PostgreSQLStorage) -> None:
    """Their pages are cut differently, so what counts is candles, not pages."""
    jobs = [
        ("BTC-USDT", "ETH-USDT", "--since", "2024-02-26", "--until", "2024-02-28"),
        ("ETH-USDT", "BTC-USDT-SWAP", "--since", "2024-02-27T07:00:00Z"),
        ("BTC-USDT-SWAP", "BTC-USDT", "--since", "2024-02-25", "--until", "2024-02-27"),
        ("BTC-USDT", "--since", "2024-02-28T12:34:00Z", "--until", "2024-02-29"),
    ]
    running = [shell.start("collect", *job, "--json") for job in jobs]
    done = [one.done() for one in running]
    assert [one.code for one in done] == [0] * len(jobs), [one.err for one in done]
    served = sum(request.rows for request in exchange.journal.requests if request.before)
    stored = {symbol: storage.get_candles(symbol, "1m") for symbol in SYMBOLS[:3]}
    assert served == sum(map(len, stored.values())), "a candle was fetched twice"
    assert_complete(storage, exchange, series("BTC-USDT"), days(5))
    assert_complete(storage, exchange, series("ETH-USDT"), days(4))
    assert_complete(storage, exchange, series("BTC-USDT-SWAP"), days(5))
