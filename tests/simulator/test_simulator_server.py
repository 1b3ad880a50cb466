"""The simulator as a server: it starts and stops, keeps a journal, suffers outages, and tells the time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
from simulator_client import Asker

from chandlery.errors import ConfigurationError
from chandlery.simulator import FixedClock, RealClock, RunningClock, SeededMarket, Simulator
from chandlery.simulator.clock import clock_for

NOW_MS = 1_781_094_870_500
MINUTE_MS = 60_000


def test_it_serves_within_asyncio():
    async def ask() -> dict:
        async with (
            Simulator(SeededMarket(7)) as simulator,
            aiohttp.request("GET", f"{simulator.base_url}/api/v5/public/time") as response,
        ):
            return await response.json()

    assert asyncio.run(ask())["code"] == "0"


def test_it_listens_on_loopback_alone_unless_asked_otherwise():
    with Simulator(SeededMarket(7)).run_in_thread() as simulator:
        assert simulator.base_url.startswith("http://127.0.0.1:")


def test_a_taken_port_is_an_error_with_a_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        simulator = Simulator(SeededMarket(7), port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match="Choose another port"), simulator.run_in_thread():
            pass


def test_it_is_gone_after_the_context():
    with Simulator(SeededMarket(7)).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        exchange.now()
    with pytest.raises(ConnectionRefusedError):
        exchange.now()


def test_many_requests_at_once_are_all_answered():
    with Simulator(SeededMarket(7), clock=FixedClock(NOW_MS)).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        with ThreadPoolExecutor(16) as pool:
            ends = [NOW_MS - n * 300 * MINUTE_MS for n in range(64)]
            pages = list(pool.map(lambda end: exchange.history(after=end, limit=300).data, ends))
        assert {len(page) for page in pages} <= {299, 300}
        assert simulator.journal.served_twice() == []


def test_an_outage_refuses_connections_and_breaks_open_ones_and_then_ends():
    with Simulator(SeededMarket(7)).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        with socket.create_connection(("127.0.0.1", int(simulator.base_url.rpartition(":")[2]))) as open_one:
            exchange.now()
            simulator.outage(0.3)
            assert open_one.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            exchange.now()
        assert answers_within(exchange, 5.0)


def test_an_outage_can_be_ordered_over_http():
    with Simulator(SeededMarket(7)).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        order = json.dumps({"duration_s": 0.3}).encode()
        assert exchange.send("POST", "/simulator/outage", order).document == {"duration_s": 0.3}
        time.sleep(0.15)
        with pytest.raises(ConnectionRefusedError):
            exchange.now()
        assert answers_within(exchange, 5.0)
        assert exchange.send("POST", "/simulator/outage", b"{}").status == 400


def test_a_simulator_can_be_stopped_during_an_outage():
    with Simulator(SeededMarket(7)).run_in_thread() as simulator:
        simulator.outage(60.0)


def answers_within(exchange: Asker, patience_s: float) -> bool:
    give_up = time.monotonic() + patience_s
    while time.monotonic() < give_up:
        try:
            return bool(exchange.now())
        except ConnectionError:
            time.sleep(0.02)
    return False


def test_the_journal_tells_what_was_asked_and_answered():
    with Simulator(SeededMarket(7), clock=FixedClock(NOW_MS)).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        exchange.history(after=NOW_MS, limit=7, bar="5m")
        exchange.history(bar="nonsense")
        exchange.history(after=NOW_MS, limit=7, bar="5m")
        summary = exchange.get("/simulator/requests").document
        assert (summary["total"], summary["by_code"]) == (3, {"0": 2, "51000": 1})
        assert summary["requests"][0] == {
            "at": NOW_MS,
            "endpoint": "/api/v5/market/history-candles",
            "inst_id": "BTC-USDT",
            "bar": "5m",
            "after": str(NOW_MS),
            "before": "",
            "file": "",
            "status": 200,
            "code": "0",
            "rows": 7,
            "fault": None,
        }
        page = ("/api/v5/market/history-candles", "BTC-USDT", "5m", str(NOW_MS), "")
        assert simulator.journal.served_twice() == [page]
        exchange.send("DELETE", "/simulator/requests")
        assert exchange.get("/simulator/requests").document["total"] == 0


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"limit": 301}, "51000"),
        ({"limit": 0}, "51000"),
        ({"limit": "x"}, "51000"),
        ({"after": "-1"}, "51000"),
        ({"after": "1e3"}, "51000"),
        ({"after": "9" * 30}, "51000"),
        ({"before": "２"}, "51000"),
        ({"instId": ""}, "50014"),
        ({"instId": "BTC-USDT-240329"}, "51001"),
        ({"instId": "../etc"}, "51001"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict, code: str):
    with Simulator(SeededMarket(7), clock=FixedClock(NOW_MS)).run_in_thread() as simulator:
        assert Asker(simulator.base_url).history(**parameters).code == code


def test_unusual_instruments_look_as_the_exchange_shows_them():
    with Simulator(SeededMarket(7), clock=FixedClock(NOW_MS)).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        spot = {row["instId"]: row for row in exchange.get("/api/v5/public/instruments", instType="SPOT").data}
        assert {name for name, value in spot["NEWT-USDT"].items() if value} == {
            "instType",
            "instId",
            "listTime",
            "state",
        }
        assert spot["NEWT-USDT"]["state"] == "preopen"
        assert exchange.history(instId="NEWT-USDT").data == []
        assert spot["LUNA-USDT"]["state"] == "suspend"
        assert exchange.candles(instId="LUNA-USDT").data == []
        assert len(exchange.history(instId="LUNA-USDT").data) == 100
        futures = {row["instId"] for row in exchange.get("/api/v5/public/instruments", instType="FUTURES").data}
        assert futures == {"BTC-USDT-280331", "BTC-USD-280331"}


def test_instruments_can_be_filtered():
    with Simulator(SeededMarket(7), clock=FixedClock(NOW_MS)).run_in_thread() as simulator:

        def found(**parameters: str) -> list[str]:
            return [
                row["instId"] for row in Asker(simulator.base_url).get("/api/v5/public/instruments", **parameters).data
            ]

        assert found(instType="SWAP", instFamily="BTC-USD") == found(instType="SWAP", uly="BTC-USD") == ["BTC-USD-SWAP"]
        assert found(instType="SPOT", instId="BTC-USDT") == ["BTC-USDT"]
        assert found(instType="OPTION", instFamily="BTC-USD") == []


def test_the_running_candle_grows_until_it_is_the_confirmed_one():
    minute = NOW_MS // MINUTE_MS * MINUTE_MS
    clock = FixedClock(minute)
    with Simulator(SeededMarket(7), clock=clock).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        seen = []
        for _ in range(4):
            seen.append(exchange.candles(limit=1).data[0])
            clock.advance(MINUTE_MS // 4)
        final = exchange.candles(limit=2).data[1]
    assert [row[8] for row in [*seen, final]] == ["0", "0", "0", "0", "1"]
    assert seen[0][1:5] == [final[1]] * 4
    volumes = [float(row[5]) for row in [*seen, final]]
    assert volumes == sorted(volumes)
    assert (volumes[0], volumes[3]) == (0.0, pytest.approx(volumes[4] * 0.75))
    assert all(float(final[3]) <= float(row[3]) <= float(row[2]) <= float(final[2]) for row in seen)


def test_a_running_hour_is_made_of_the_minutes_so_far():
    with Simulator(SeededMarket(7), clock=FixedClock(NOW_MS // MINUTE_MS * MINUTE_MS)).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        hour = exchange.candles(bar="1H", limit=1).data[0]
        minutes = [row for row in exchange.candles(limit=300).data if int(row[0]) >= int(hour[0])]
    assert hour[1] == minutes[-1][1]
    assert float(hour[2]) == max(float(row[2]) for row in minutes)
    assert float(hour[5]) == pytest.approx(sum(float(row[5]) for row in minutes))


def test_the_history_lags_a_minute_behind():
    minute = NOW_MS // MINUTE_MS * MINUTE_MS
    clock = FixedClock(minute + 59_999)
    with Simulator(SeededMarket(7), clock=clock).run_in_thread() as simulator:
        exchange = Asker(simulator.base_url)
        assert exchange.history(limit=1).times == [minute - 2 * MINUTE_MS]
        clock.advance(1)
        assert exchange.history(limit=1).times == [minute - MINUTE_MS]


def test_a_running_clock_keeps_its_speed_and_stops_at_its_end():
    seconds = [100.0]
    clock = RunningClock(1_000, 60.0, end_at=100_000, monotonic=lambda: seconds[0])
    readings = [clock.now()]
    for seconds[0] in (101.0, 101.5, 500.0):
        readings.append(clock.now())
    assert readings == [1_000, 61_000, 91_000, 100_000]


def test_the_clock_that_suits_a_market():
    assert isinstance(clock_for(None), RealClock)
    assert abs(clock_for(None).now() - time.time() * 1_000) < 5_000
    assert clock_for(123_456).now() == 123_456
    assert clock_for(123_456, start_at=1_000, speed=0).now() == 1_000
    with pytest.raises(ConfigurationError, match="must start somewhere"):
        clock_for(None, speed=60.0)
    with pytest.raises(ConfigurationError, match="cannot run at speed"):
        clock_for(None, start_at=0, speed=-1.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_simulator_tells_its_address_and_ends_on_a_signal(number: int):
    program = "import chandlery.simulator as s; s.run_simulator(on_ready=lambda url: print(url, flush=True))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        exchange = Asker(process.stdout.readline().strip())
        assert exchange.candles(limit=1).data
        process.send_signal(number)
        assert process.wait(10) == 0
