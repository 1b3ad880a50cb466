"""The protocol, as promises that the simulator and the real exchange keep alike.

They run on the simulator always, and on the real exchange as well where CHANDLERY_TEST_REAL_EXCHANGE=1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from simulator_client import Asker

from chandlery.simulator import FixedClock, SeededMarket, Simulator

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
FIRST_BTC_MINUTE_MS = 1_515_669_120_000
SIMULATED_NOW_MS = 1_781_094_870_500  # 2026-06-10 12:34:30.5 UTC: half a minute into a minute
PLAIN_DECIMAL = re.compile(r"\d+(\.\d+)?")
EXCHANGES = ["simulator"] + (["real"] if os.environ.get("CHANDLERY_TEST_REAL_EXCHANGE") == "1" else [])


@pytest.fixture(scope="module", params=EXCHANGES)
def exchange(request: pytest.FixtureRequest) -> Iterator[Asker]:
    if request.param == "real":
        yield Asker("https://openapi.okx.com", pause_s=0.25)
        return
    with Simulator(SeededMarket(7), clock=FixedClock(SIMULATED_NOW_MS)).run_in_thread() as simulator:
        yield Asker(simulator.base_url)


def test_the_clock_is_milliseconds_as_text(exchange: Asker):
    row = exchange.get("/api/v5/public/time").data[0]
    assert re.fullmatch(r"\d{13}", row["ts"])


def test_an_instrument_type_must_be_given(exchange: Asker):
    reply = exchange.get("/api/v5/public/instruments")
    assert (reply.status, reply.code) == (400, "50014")


@pytest.mark.parametrize(
    ("kind", "symbol"), [("SPOT", "BTC-USDT"), ("SWAP", "BTC-USDT-SWAP"), ("SWAP", "BTC-USD-SWAP")]
)
def test_instruments_are_described_in_plain_decimals(exchange: Asker, kind: str, symbol: str):
    listed = {row["instId"]: row for row in exchange.get("/api/v5/public/instruments", instType=kind).data}
    row = listed[symbol]
    assert (row["instType"], row["state"]) == (kind, "live")
    assert all(PLAIN_DECIMAL.fullmatch(row[name]) for name in ("tickSz", "lotSz", "minSz"))
    if kind == "SWAP":
        assert row["ctType"] == ("inverse" if symbol == "BTC-USD-SWAP" else "linear")
        assert PLAIN_DECIMAL.fullmatch(row["ctVal"])
        assert row["instFamily"] == symbol.removesuffix("-SWAP")


@pytest.mark.parametrize("endpoint", ["candles", "history-candles"])
def test_pages_are_contiguous_newest_first_and_100_rows_unless_told_otherwise(exchange: Asker, endpoint: str):
    reply = exchange.get(f"/api/v5/market/{endpoint}", instId="BTC-USDT")
    times = reply.times
    assert times == list(range(times[0], times[0] - 100 * MINUTE_MS, -MINUTE_MS))
    assert all(len(row) == 9 and all(isinstance(text, str) for text in row) for row in reply.data)


@pytest.mark.parametrize("endpoint", ["candles", "history-candles"])
def test_a_page_has_up_to_300_rows(exchange: Asker, endpoint: str):
    assert len(exchange.get(f"/api/v5/market/{endpoint}", instId="BTC-USDT", limit=300).data) == 300


def test_values_are_plain_decimals_that_make_a_candle(exchange: Asker):
    for row in exchange.history(limit=300, instId="PEPE-USDT").data:
        assert all(PLAIN_DECIMAL.fullmatch(text) for text in row[1:8])
        open_, high, low, close = map(float, row[1:5])
        assert low <= min(open_, close) <= max(open_, close) <= high


def test_both_cursors_are_exclusive(exchange: Asker):
    end = exchange.now() // DAY_MS * DAY_MS - 10 * DAY_MS
    reply = exchange.history(after=end, before=end - 10 * MINUTE_MS)
    assert reply.times == [end - n * MINUTE_MS for n in range(1, 10)]


def test_a_window_larger_than_a_page_gives_its_newest_end(exchange: Asker):
    end = exchange.now() // DAY_MS * DAY_MS - 10 * DAY_MS
    reply = exchange.history(after=end, before=end - 1_000 * MINUTE_MS, limit=300)
    assert (reply.times[0], reply.times[-1]) == (end - MINUTE_MS, end - 300 * MINUTE_MS)


def test_before_alone_gives_the_latest_page(exchange: Asker):
    now = exchange.now()
    reply = exchange.history(before=now - 30 * DAY_MS, limit=5)
    assert len(reply.data) == 5
    assert reply.times[0] > now - 10 * MINUTE_MS


@pytest.mark.parametrize("endpoint", ["candles", "history-candles"])
def test_after_in_the_future_gives_the_newest_page(exchange: Asker, endpoint: str):
    now = exchange.now()
    reply = exchange.get(f"/api/v5/market/{endpoint}", instId="BTC-USDT", after=now + DAY_MS, limit=5)
    assert len(reply.data) == 5
    assert reply.times[0] > now - 10 * MINUTE_MS


def test_the_far_past_is_an_empty_page_and_no_error(exchange: Asker):
    assert exchange.history(after=1_300_000_000_000).data == []


def test_the_history_begins_with_its_first_candle(exchange: Asker):
    assert exchange.history(after=FIRST_BTC_MINUTE_MS).data == []
    assert exchange.history(after=FIRST_BTC_MINUTE_MS + 3 * MINUTE_MS).times[-1] == FIRST_BTC_MINUTE_MS


def test_recent_candles_reach_back_1440_bars(exchange: Asker):
    now = exchange.now()
    assert exchange.candles(after=now - 1_445 * MINUTE_MS).data == []
    assert len(exchange.candles(after=now - 1_430 * MINUTE_MS).data) in range(5, 12)


def test_only_the_running_candle_is_unconfirmed_and_the_history_has_none(exchange: Asker):
    recent, now = exchange.candles(bar="1H", limit=50).data, exchange.now()
    running = [row for row in recent if int(row[0]) + HOUR_MS > now]
    assert [row[8] for row in running] == ["0"] * len(running)
    assert {row[8] for row in recent[1:]} == {"1"}
    assert {row[8] for row in exchange.history(bar="1H", limit=50).data} == {"1"}


def test_both_endpoints_tell_the_same(exchange: Asker):
    end = exchange.now() // MINUTE_MS * MINUTE_MS - 100 * MINUTE_MS
    assert exchange.candles(after=end, limit=50).data == exchange.history(after=end, limit=50).data


@pytest.mark.parametrize(
    ("bar", "hours"),
    [("6H", {4, 10, 16, 22}), ("12H", {4, 16}), ("1D", {16}), ("6Hutc", {0, 6, 12, 18}), ("1Dutc", {0})],
)
def test_long_bars_open_at_midnight_utc_plus_8_unless_they_are_named_utc(exchange: Asker, bar: str, hours: set[int]):
    opens = [datetime.fromtimestamp(time / 1_000, UTC) for time in exchange.history(bar=bar, limit=12).times]
    assert {each.hour for each in opens} == hours


def test_utc_weeks_open_on_monday_and_utc_months_on_the_first(exchange: Asker):
    weeks = [datetime.fromtimestamp(time / 1_000, UTC) for time in exchange.history(bar="1Wutc", limit=10).times]
    months = [datetime.fromtimestamp(time / 1_000, UTC) for time in exchange.history(bar="1Mutc", limit=10).times]
    assert {(each.weekday(), each.hour) for each in weeks} == {(0, 0)}
    assert {(each.day, each.hour) for each in months} == {(1, 0)}


@pytest.mark.parametrize("bar", ["1h", "1d", "1dutc", "7m", "nonsense"])
def test_a_bar_in_the_wrong_case_or_unknown_is_refused(exchange: Asker, bar: str):
    reply = exchange.history(bar=bar)
    assert (reply.status, reply.code) == (400, "51000")


def test_an_unknown_instrument_is_refused_with_http_200(exchange: Asker):
    reply = exchange.history(instId="NO-SUCHTHING")
    assert (reply.status, reply.code) == (200, "51001")


def test_an_unknown_path_is_404(exchange: Asker):
    assert exchange.get("/api/v5/market/no-such-endpoint").status == 404


def test_volumes_of_spot_are_base_and_quote(exchange: Asker):
    for row in exchange.history(bar="1Dutc", limit=5).data:
        assert row[6] == row[7]
        assert float(row[3]) <= float(row[7]) / float(row[5]) <= float(row[2])


@pytest.mark.parametrize(("symbol", "worth"), [("BTC-USDT-SWAP", 0.01), ("ETH-USDT-SWAP", 0.1)])
def test_volumes_of_linear_contracts_are_contracts_and_base_and_quote(exchange: Asker, symbol: str, worth: float):
    for row in exchange.history(bar="1Dutc", limit=5, instId=symbol).data:
        assert float(row[6]) == pytest.approx(float(row[5]) * worth)
        assert float(row[3]) * 0.99 <= float(row[7]) / float(row[6]) <= float(row[2]) * 1.01


def test_volumes_of_inverse_contracts_are_contracts_of_the_quote_currency(exchange: Asker):
    for row in exchange.history(bar="1Dutc", limit=5, instId="BTC-USD-SWAP").data:
        assert float(row[7]) == pytest.approx(float(row[5]) * 100)
        assert float(row[3]) * 0.99 <= float(row[7]) / float(row[6]) <= float(row[2]) * 1.01


def test_announced_maintenance_is_a_list(exchange: Asker):
    assert isinstance(exchange.get("/api/v5/system/status").data, list)
