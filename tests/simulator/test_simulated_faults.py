"""Faults on demand: each kind does what its name says, once, where it was armed."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from collections.abc import Iterator

import pytest
from simulator_client import Asker

from chandlery.errors import ConfigurationError
from chandlery.simulator import FaultKind, FaultPlan, FixedClock, SeededMarket, Simulator
from chandlery.simulator.endpoints import CANDLES, HISTORY, TIME
from chandlery.simulator.faults import OBVIOUS_FAULTS, PAGE_FAULTS, ArmedFault, Faults, applies

NOW_MS = 1_781_094_870_500
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
WINDOW = {"after": 1_781_000_040_000, "before": 1_781_000_040_000 - 51 * MINUTE_MS}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(SeededMarket(7), clock=FixedClock(NOW_MS)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def exchange(simulator: Simulator) -> Asker:
    return Asker(simulator.base_url)


@pytest.fixture
def truth(exchange: Asker) -> list[list[str]]:
    return exchange.history(**WINDOW).data


@pytest.mark.parametrize(
    ("kind", "error"), [(FaultKind.DROP, http.client.RemoteDisconnected), (FaultKind.RESET, ConnectionResetError)]
)
def test_a_broken_connection_is_no_answer(simulator: Simulator, exchange: Asker, kind: FaultKind, error: type):
    simulator.arm(kind)
    with pytest.raises(error):
        exchange.history()
    assert exchange.history().data
    assert simulator.journal.requests[0].status is None


def test_a_hanging_request_outlasts_the_clients_patience(simulator: Simulator):
    simulator.arm(FaultKind.HANG)
    with pytest.raises(TimeoutError):
        Asker(simulator.base_url, timeout_s=0.2).history()
    assert Asker(simulator.base_url).history().data


def test_a_delayed_answer_is_late_and_true(simulator: Simulator, exchange: Asker, truth: list):
    simulator.arm(FaultKind.DELAY, duration_s=0.2)
    started = time.monotonic()
    assert exchange.history(**WINDOW).data == truth
    assert time.monotonic() - started >= 0.2


def test_a_slow_body_trickles_and_is_true(simulator: Simulator, exchange: Asker, truth: list):
    simulator.arm(FaultKind.SLOW_BODY, duration_s=0.2)
    started = time.monotonic()
    assert exchange.history(**WINDOW).data == truth
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (FaultKind.UNAVAILABLE, 503, "50001"),
        (FaultKind.BUSY, 429, "50013"),
        (FaultKind.SYSTEM_ERROR, 500, "50026"),
        (FaultKind.RATE_LIMIT, 429, "50011"),
    ],
)
def test_the_exchanges_own_errors(simulator: Simulator, exchange: Asker, kind: FaultKind, status: int, code: str):
    simulator.arm(kind)
    reply = exchange.history()
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize(
    ("kind", "status", "text"), [(FaultKind.HTTP_500, 500, b"Internal"), (FaultKind.HTML_502, 502, b"<html>")]
)
def test_errors_of_a_gateway_are_no_json(simulator: Simulator, exchange: Asker, kind: FaultKind, status: int, text):
    simulator.arm(kind)
    reply = exchange.history()
    assert (reply.status, text in reply.body) == (status, True)
    assert (simulator.journal.requests[0].status, simulator.journal.requests[0].code) == (status, None)


def test_a_truncated_document_is_no_json(simulator: Simulator, exchange: Asker):
    simulator.arm(FaultKind.TRUNCATED_JSON)
    reply = exchange.history()
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)


def test_a_wrong_encoding_cannot_be_decoded(simulator: Simulator, exchange: Asker):
    simulator.arm(FaultKind.WRONG_ENCODING)
    reply = exchange.history()
    assert reply.headers["Content-Encoding"] == "gzip"
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(reply.body)


def spoilt(simulator: Simulator, exchange: Asker, kind: FaultKind) -> list[list[str]]:
    simulator.arm(kind)
    return exchange.history(**WINDOW).data


def test_an_empty_page_is_a_success_without_candles(simulator: Simulator, exchange: Asker):
    assert spoilt(simulator, exchange, FaultKind.EMPTY_PAGE) == []


def test_a_short_page_lacks_its_oldest_rows(simulator: Simulator, exchange: Asker, truth: list):
    page = spoilt(simulator, exchange, FaultKind.SHORT_PAGE)
    assert len(page) < len(truth)
    assert page == truth[: len(page)]


def test_a_hole_lies_inside_the_page(simulator: Simulator, exchange: Asker, truth: list):
    page = spoilt(simulator, exchange, FaultKind.HOLE)
    assert 1 <= len(truth) - len(page) <= 3
    assert (page[0], page[-1]) == (truth[0], truth[-1])
    assert all(row in truth for row in page)


def test_a_stuck_page_ignores_the_cursors(simulator: Simulator, exchange: Asker):
    assert spoilt(simulator, exchange, FaultKind.STUCK_PAGE) == exchange.history().data


def test_an_overlapping_page_has_rows_from_outside_the_window(simulator: Simulator, exchange: Asker, truth: list):
    page = spoilt(simulator, exchange, FaultKind.OVERLAPPING_PAGE)
    assert page[5:] == truth
    assert int(page[0][0]) >= WINDOW["after"]


def test_an_unordered_page_has_the_right_rows(simulator: Simulator, exchange: Asker, truth: list):
    page = spoilt(simulator, exchange, FaultKind.UNORDERED)
    assert page != truth
    assert sorted(page, reverse=True) == truth


def test_a_duplicated_row_comes_twice(simulator: Simulator, exchange: Asker, truth: list):
    page = spoilt(simulator, exchange, FaultKind.DUPLICATED_ROW)
    assert len(page) == len(truth) + 1
    assert [row for place, row in enumerate(page) if row not in page[:place]] == truth


@pytest.mark.parametrize(
    ("kind", "is_wrong"),
    [
        (FaultKind.NAN_ROW, lambda row: row[4] == "NaN"),
        (FaultKind.CROSSED_ROW, lambda row: float(row[2]) < float(row[3])),
        (FaultKind.REVISED_CANDLE, lambda row: row[8] == "1"),
    ],
)
def test_one_row_is_wrong(simulator: Simulator, exchange: Asker, truth: list, kind: FaultKind, is_wrong):
    page = spoilt(simulator, exchange, kind)
    changed = [new for new, old in zip(page, truth, strict=True) if new != old]
    assert len(changed) == 1
    assert is_wrong(changed[0])


def test_a_wrong_clock_is_an_hour_ahead_and_harms_no_candle(simulator: Simulator, exchange: Asker, truth: list):
    simulator.arm(FaultKind.WRONG_CLOCK)
    assert exchange.history(**WINDOW).data == truth
    assert exchange.now() == NOW_MS + HOUR_MS
    assert exchange.now() == NOW_MS


def test_a_fault_waits_for_its_endpoint_and_instrument(simulator: Simulator, exchange: Asker):
    simulator.arm(FaultKind.BUSY, count=2, endpoint="history-candles", inst_id="ETH-USDT")
    assert exchange.candles(instId="ETH-USDT").code == "0"
    assert exchange.history().code == "0"
    assert [exchange.history(instId="ETH-USDT").code for _ in range(3)] == ["50013", "50013", "0"]


def test_faults_can_be_armed_and_disarmed_over_http(exchange: Asker):
    order = json.dumps({"kind": "busy", "count": 2, "endpoint": HISTORY}).encode()
    assert exchange.send("POST", "/simulator/faults", order).document == {"waiting": 2}
    assert exchange.history().code == "50013"
    assert exchange.send("DELETE", "/simulator/faults").document == {"waiting": 0}
    assert exchange.history().code == "0"


@pytest.mark.parametrize(
    "order", [b"", b"{}", b'{"kind": "earthquake"}', b'{"kind": "busy", "count": 0}', b'{"kind": "busy", "count": "x"}']
)
def test_a_nonsensical_order_is_refused_and_arms_nothing(exchange: Asker, order: bytes):
    reply = exchange.send("POST", "/simulator/faults", order)
    assert (reply.status, list(reply.document)) == (400, ["error"])
    assert exchange.history().code == "0"


def test_a_plan_spoils_its_share_of_requests_and_the_same_ones_every_time():
    met = [[FaultPlan(5, 0.25).next(HISTORY)] + [plan.next(HISTORY) for _ in range(2_000)] for plan in plans(2)]
    assert met[0] == met[1]
    hits = [fault.kind for fault in met[0] if fault]
    assert 0.2 < len(hits) / 2_001 < 0.3
    assert set(hits) == OBVIOUS_FAULTS


def plans(count: int) -> list[FaultPlan]:
    return [FaultPlan(5, 0.25) for _ in range(count)]


def test_a_plan_meets_requests_only_with_faults_that_apply():
    plan = FaultPlan(5, 1.0, frozenset(FaultKind))
    assert not {plan.next(TIME).kind for _ in range(500)} & PAGE_FAULTS
    assert FaultKind.WRONG_CLOCK not in {plan.next(CANDLES).kind for _ in range(500)}
    assert FaultPlan(5, 1.0, [FaultKind.HOLE]).next(TIME) is None
    assert not applies(FaultKind.HOLE, TIME)


def test_armed_faults_go_before_the_plan():
    faults = Faults(FaultPlan(5, 1.0, [FaultKind.DROP]))
    faults.arm(ArmedFault(kind=FaultKind.BUSY))
    assert [faults.next(HISTORY, "").kind for _ in range(2)] == [FaultKind.BUSY, FaultKind.DROP]


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_of_faults_is_a_share(rate: float):
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        FaultPlan(1, rate)
