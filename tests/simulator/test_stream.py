"""The candle stream of the simulator: what it answers, what it pushes and when, its limits and its faults."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import pytest
from stream_client import PATIENCE_S, Listener, listening

from candles import START, candles
from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import timeframe
from chandlery.errors import ConfigurationError
from chandlery.simulator import (
    FixedClock,
    RateLimits,
    ReplayMarket,
    RunningClock,
    SeededMarket,
    Simulator,
    StreamFaultKind,
    StreamFaultPlan,
    stream,
    subscriber,
)
from chandlery.simulator.bars import BARS
from chandlery.simulator.stream_faults import ArmedStreamFault, StreamFaults
from chandlery.simulator.topics import Channel

NOW_MS = 1_781_094_870_500  # half a minute into a minute
MINUTE_MS, DAY_MS = 60_000, 86_400_000
BTC = ("candle1m", "BTC-USDT")
ETH = ("candle1m", "ETH-USDT")

Script = Callable[[Simulator, Listener], Awaitable[None]]


@asynccontextmanager
async def served(**options: object) -> AsyncIterator[Simulator]:
    market = SeededMarket(7)
    async with Simulator(market, clock=options.pop("clock", None) or FixedClock(NOW_MS), **options) as simulator:
        yield simulator


def play(script: Script, **options: object) -> None:
    """Run a script with a simulator whose clock stands still, and one listener."""

    async def run() -> None:
        async with served(**options) as simulator, listening(simulator.base_url) as listener:
            await script(simulator, listener)

    asyncio.run(run())


async def rest(simulator: Simulator, **parameters: object) -> list[list[str]]:
    url = f"{simulator.base_url}/api/v5/market/candles"
    async with aiohttp.request("GET", url, params=parameters) as response:
        return (await response.json())["data"]


async def subscribed(listener: Listener, *channels: tuple[str, str]) -> None:
    """Subscribe, and read the answers and the open candles."""
    await listener.subscribe(*channels)
    for _ in range(2 * len(channels)):
        await listener.next()


def opens(messages: list[dict]) -> list[int]:
    return [int(message["data"][0][0]) for message in messages]


def test_each_channel_is_acknowledged_with_the_id_of_its_request_and_its_open_candle_follows():
    async def script(simulator: Simulator, listener: Listener) -> None:
        await listener.subscribe(BTC, ETH, id="a7")
        for channel, inst_id in (BTC, ETH):
            ack, push = await listener.next(), await listener.next()
            assert ack == {
                "id": "a7",
                "event": "subscribe",
                "arg": {"channel": channel, "instId": inst_id},
                "connId": simulator.stream_journal.connections[0].conn_id,
            }
            assert push == {"arg": ack["arg"], "data": await rest(simulator, instId=inst_id, limit=1)}
            assert push["data"][0][8] == "0"

    play(script)


def test_a_text_ping_is_answered_with_a_text_pong():
    async def script(simulator: Simulator, listener: Listener) -> None:
        await listener.say("ping")
        assert await listener.text() == "pong"
        assert simulator.stream_journal.connections[0].pings == 1

    play(script)


@pytest.mark.parametrize(
    "request_",
    ["nonsense", "[]", '{"op": "subscribe"}', '{"op": "subscribe", "args": []}', '{"op": "order", "args": [{}]}',
     '{"op": "subscribe", "args": [{"channel": "candle1m"}]}', '{"op": "login", "args": [{"channel":"","instId":""}]}'],
)  # fmt: skip
def test_a_malformed_request_is_answered_with_60012_and_the_connection_lives_on(request_: str):
    async def script(_: Simulator, listener: Listener) -> None:
        await listener.say(request_)
        answer = await listener.next()
        assert (answer["event"], answer["code"]) == ("error", "60012")
        assert {"msg", "connId"} < answer.keys()
        await subscribed(listener, BTC)

    play(script)


@pytest.mark.parametrize("wrong", [("candle1h", "BTC-USDT"), ("candle1m", "NO-SUCH"), ("tickers", "BTC-USDT")])
def test_an_unknown_channel_is_refused_with_60018_and_the_others_of_its_request_are_not(wrong: tuple[str, str]):
    async def script(_: Simulator, listener: Listener) -> None:
        await listener.subscribe(wrong, BTC, id="1")
        refusal, ack = await listener.next(), await listener.next()
        assert (refusal["event"], refusal["code"], refusal["id"]) == ("error", "60018", "1")
        assert f"channel:{wrong[0]},instId:{wrong[1]} doesn't exist" in refusal["msg"]
        assert ack["arg"] == {"channel": BTC[0], "instId": BTC[1]}

    play(script)


@pytest.mark.parametrize("bar", ["1m", "5m", "1H", "4H", "6H", "6Hutc", "1D", "1Dutc", "1Wutc", "1Mutc"])
def test_every_closed_bar_is_pushed_once_in_order_as_the_rest_endpoint_has_it(bar: str):
    async def script(simulator: Simulator, listener: Listener) -> None:
        await subscribed(listener, (f"candle{bar}", "BTC-USDT-SWAP"))
        first = BARS[bar].ordinal(NOW_MS)
        simulator.clock.advance(BARS[bar].open_at(first + 1) - NOW_MS - 1)
        await asyncio.sleep(0.05)
        simulator.clock.advance(1)
        pushed = await listener.confirms(1)
        simulator.clock.advance(BARS[bar].open_at(first + 4) - BARS[bar].open_at(first + 1))
        pushed += await listener.confirms(3)
        assert opens(pushed) == [BARS[bar].open_at(first + n) for n in range(4)]
        rows = await rest(simulator, instId="BTC-USDT-SWAP", bar=bar, limit=5)
        assert [message["data"] for message in pushed] == [[row] for row in reversed(rows[1:])]

    play(script)


def test_the_open_candle_is_pushed_at_most_once_a_second():
    async def script(simulator: Simulator, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        await subscribed(listener, BTC)
        await listener.next()
        began = loop.time()
        assert (await listener.next())["data"] == await rest(simulator, instId="BTC-USDT", limit=1)
        assert loop.time() - began > 0.9

    play(script)


def test_a_clock_of_speed_3600_skips_no_bar():
    async def script(_: Simulator, listener: Listener) -> None:
        await subscribed(listener, BTC, ETH)
        times: dict[str, list[int]] = {"BTC-USDT": [], "ETH-USDT": []}
        for push in await listener.confirms(120):
            times[push["arg"]["instId"]] += opens([push])
        for each in times.values():
            assert each == list(range(each[0], each[0] + len(each) * MINUTE_MS, MINUTE_MS))
            assert len(each) > 30

    play(script, clock=RunningClock(NOW_MS, 3_600))


def test_a_suspended_instrument_is_subscribed_and_says_nothing():
    async def script(simulator: Simulator, listener: Listener) -> None:
        await listener.subscribe(("candle1m", "LUNA-USDT"))
        assert (await listener.next())["event"] == "subscribe"
        await subscribed(listener, BTC)
        simulator.clock.advance(5 * MINUTE_MS)
        assert {push["arg"]["instId"] for push in await listener.confirms(5)} == {"BTC-USDT"}

    play(script)


def test_a_recording_is_pushed_to_its_end_and_its_holes_are_not():
    recorded = candles(Series("okx", "SOL-USDT", timeframe("1m")), 30)
    kept = recorded.take(np.arange(30) % 7 != 5)

    async def run() -> None:
        clock = FixedClock(START)
        async with (
            Simulator(ReplayMarket([kept]), clock=clock) as simulator,
            listening(simulator.base_url) as listener,
        ):
            await subscribed(listener, ("candle1m", "SOL-USDT"))
            clock.advance(30 * MINUTE_MS)
            assert opens(await listener.confirms(len(kept))) == kept.open_time.tolist()

    asyncio.run(run())


def test_nothing_is_pushed_after_unsubscribing():
    async def script(simulator: Simulator, listener: Listener) -> None:
        await subscribed(listener, BTC, ETH)
        await listener.subscribe(BTC, op="unsubscribe")
        while (await listener.next()).get("event") != "unsubscribe":
            pass
        simulator.clock.advance(3 * MINUTE_MS)
        assert {push["arg"]["instId"] for push in await listener.confirms(3)} == {"ETH-USDT"}

    play(script)


def test_two_clients_of_one_channel_hear_the_same():
    async def script(simulator: Simulator, one: Listener) -> None:
        async with listening(simulator.base_url) as other:
            await subscribed(one, BTC)
            await subscribed(other, BTC)
            simulator.clock.advance(3 * MINUTE_MS)
            assert await one.confirms(3) == await other.confirms(3)

    play(script)


def test_a_connection_on_which_nothing_happens_is_closed_with_4004():
    async def script(simulator: Simulator, listener: Listener) -> None:
        assert await listener.end() == 4004
        assert simulator.stream_journal.connections[0].code == 4004

    play(script, stream_idle_s=0.1)


def test_an_address_may_begin_three_connections_a_second():
    async def run() -> None:
        async with served(rate_limits=RateLimits()) as simulator, aiohttp.ClientSession() as session:
            url = f"{simulator.base_url}/ws/v5/business"
            answers = await asyncio.gather(*(session.ws_connect(url) for _ in range(4)), return_exceptions=True)
            assert 429 in {answer.status for answer in answers if isinstance(answer, aiohttp.WSServerHandshakeError)}

    asyncio.run(run())


def test_a_connection_may_send_480_requests_an_hour():
    async def script(_: Simulator, listener: Listener) -> None:
        for _ in range(480):
            await listener.subscribe(BTC, op="unsubscribe")
            assert (await listener.next())["event"] == "unsubscribe"
        await listener.subscribe(BTC)
        assert (await listener.next())["code"] == "60014"

    play(script, rate_limits=RateLimits())


def test_too_long_a_list_of_channels_closes_the_connection(monkeypatch: pytest.MonkeyPatch):
    assert stream.LARGEST_LIST == 64 * 1024
    monkeypatch.setattr(stream, "LARGEST_LIST", 300)

    async def script(_: Simulator, listener: Listener) -> None:
        channels = [(f"candle{bar}", "BTC-USDT") for bar in BARS]
        await subscribed(listener, *channels[:3])
        await listener.subscribe(*channels)
        assert await listener.end() == 4008

    play(script, rate_limits=RateLimits())


def test_a_client_that_does_not_read_is_disconnected_and_harms_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(subscriber, "_MOST_WAITING", 50)

    async def script(simulator: Simulator, listener: Listener) -> None:
        await subscribed(listener, BTC)
        simulator.clock.advance(100 * MINUTE_MS)
        assert await listener.end() == 4005

    play(script)


def test_the_journal_tells_who_listened_to_what():
    async def script(simulator: Simulator, listener: Listener) -> None:
        await subscribed(listener, BTC, ETH)
        simulator.clock.advance(MINUTE_MS)
        await listener.confirms(2)
        (connection,) = simulator.stream_journal.connections
        assert connection.channels == [BTC, ETH]
        assert (connection.requests, connection.confirms, connection.closed_at) == (1, 2, None)
        simulator.drop_streams()
        assert await listener.end() is None
        assert connection.closed_at == simulator.clock.now()

    play(script)


def test_an_outage_breaks_streams_too():
    async def script(simulator: Simulator, listener: Listener) -> None:
        await subscribed(listener, BTC)
        simulator.outage(0.01)
        assert await listener.end() is None

    play(script)


# --- faults


@pytest.mark.parametrize(("kind", "code"), [("illegal_request", "60012"), ("refused", "60018")])
def test_a_request_is_refused_as_often_as_was_armed(kind: str, code: str):
    async def script(simulator: Simulator, listener: Listener) -> None:
        simulator.arm_stream(StreamFaultKind(kind))
        await listener.subscribe(BTC)
        assert (await listener.next())["code"] == code
        await subscribed(listener, BTC)

    play(script)


def faulty(kind: StreamFaultKind, then: Script, **armed: object) -> None:
    """Arm a fault for the next bar of BTC-USDT, let two bars close, and see ``then``."""

    async def script(simulator: Simulator, listener: Listener) -> None:
        await subscribed(listener, BTC)
        simulator.arm_stream(kind, inst_id="BTC-USDT", **armed)
        simulator.clock.advance(2 * MINUTE_MS)
        await then(simulator, listener)

    play(script)


FIRST_MS = NOW_MS // MINUTE_MS * MINUTE_MS
SECOND_MS = FIRST_MS + MINUTE_MS


@pytest.mark.parametrize(
    ("kind", "arriving"),
    [
        (StreamFaultKind.MISSING_CONFIRM, [SECOND_MS]),
        (StreamFaultKind.LATE_CONFIRM, [SECOND_MS, FIRST_MS]),
        (StreamFaultKind.DOUBLED_CONFIRM, [FIRST_MS, FIRST_MS, SECOND_MS]),
    ],
)
def test_a_closing_push_is_missing_late_or_doubled(kind: StreamFaultKind, arriving: list[int]):
    async def then(simulator: Simulator, listener: Listener) -> None:
        assert opens(await listener.confirms(len(arriving))) == arriving
        (spoilt,) = simulator.stream_journal.spoilt
        assert (spoilt.inst_id, spoilt.open_time, spoilt.fault) == ("BTC-USDT", FIRST_MS, kind)
        withheld = simulator.stream_journal.withheld()
        assert len(withheld) == (kind is StreamFaultKind.MISSING_CONFIRM)

    faulty(kind, then, duration_s=0.1)


@pytest.mark.parametrize("kind", [StreamFaultKind.GARBAGE, StreamFaultKind.TRUNCATED])
def test_a_damaged_push_is_no_json_and_the_next_one_is_whole(kind: StreamFaultKind):
    async def then(simulator: Simulator, listener: Listener) -> None:
        with pytest.raises(json.JSONDecodeError):
            await listener.next()
        assert opens(await listener.confirms(1)) == [SECOND_MS]
        assert [confirm.open_time for confirm in simulator.stream_journal.withheld()] == [FIRST_MS]

    faulty(kind, then)


def test_a_cut_connection_has_no_close_code():
    async def then(_: Simulator, listener: Listener) -> None:
        assert await listener.end() is None

    faulty(StreamFaultKind.DROP, then)


def test_a_notice_comes_before_the_connection_is_closed():
    async def then(_: Simulator, listener: Listener) -> None:
        notice = await listener.next()
        assert (notice["event"], notice["code"]) == ("notice", "64008")
        assert await listener.end() == 1001

    faulty(StreamFaultKind.NOTICE, then, duration_s=0.05)


def test_a_silent_connection_answers_no_ping_and_stays_open():
    async def then(simulator: Simulator, listener: Listener) -> None:
        await asyncio.sleep(0.05)
        await listener.say("ping")
        with pytest.raises(TimeoutError):
            await listener.socket.receive(timeout=0.2)
        assert simulator.stream_journal.connections[0].closed_at is None

    faulty(StreamFaultKind.SILENCE, then)


def test_a_fault_waits_for_its_channel():
    async def script(simulator: Simulator, listener: Listener) -> None:
        await subscribed(listener, BTC, ETH)
        simulator.arm_stream(StreamFaultKind.MISSING_CONFIRM, channel="candle1m", inst_id="ETH-USDT")
        simulator.clock.advance(MINUTE_MS)
        assert [push["arg"]["instId"] for push in await listener.confirms(1)] == ["BTC-USDT"]

    play(script)


def test_faults_and_losses_can_be_ordered_over_http():
    async def script(simulator: Simulator, listener: Listener) -> None:
        async def ask(method: str, path: str, body: object = None) -> tuple[int, dict]:
            url = f"{simulator.base_url}/simulator/{path}"
            async with aiohttp.request(method, url, json=body) as response:
                return response.status, await response.json()

        await subscribed(listener, BTC)
        order = {"kind": "missing_confirm", "count": 2}
        assert await ask("POST", "stream-faults", order) == (200, {"waiting": 2})
        assert await ask("DELETE", "stream-faults") == (200, {"waiting": 0})
        assert (await ask("POST", "stream-faults", {"kind": "earthquake"}))[0] == 400
        assert (await ask("POST", "stream-faults", order | {"count": 0}))[0] == 400
        assert await ask("POST", "drop-streams") == (200, {"dropped": 1})
        assert await listener.end() is None
        status, journal = await ask("GET", "streams")
        assert (status, journal["connections"][0]["channels"]) == (200, [list(BTC)])

    play(script)


def test_a_plan_withholds_its_share_and_the_same_confirms_every_time():
    channel = Channel(*BTC)
    times = range(0, 10_000 * MINUTE_MS, MINUTE_MS)
    plan, again, other = (StreamFaultPlan(seed, {StreamFaultKind.MISSING_CONFIRM: 0.01}) for seed in (5, 5, 6))
    hits = [time for time in times if plan.at_confirm(channel, time)]
    assert 60 < len(hits) < 140
    assert hits == [time for time in reversed(times) if again.at_confirm(channel, time)][::-1]
    assert hits != [time for time in times if other.at_confirm(channel, time)]


def test_a_plan_has_several_kinds_of_faults_each_with_its_share():
    shares = {StreamFaultKind.MISSING_CONFIRM: 0.25, StreamFaultKind.LATE_CONFIRM: 0.75}
    plan = StreamFaultPlan(1, shares)
    met = [plan.at_confirm(Channel(*BTC), time) for time in range(0, 1_000 * MINUTE_MS, MINUTE_MS)]
    assert 200 < met.count(StreamFaultKind.MISSING_CONFIRM) < 300
    assert None not in met


@pytest.mark.parametrize(
    "shares",
    [{StreamFaultKind.DROP: 0.1}, {StreamFaultKind.MISSING_CONFIRM: -0.1},
     {StreamFaultKind.MISSING_CONFIRM: 0.6, StreamFaultKind.LATE_CONFIRM: 0.6}],
)  # fmt: skip
def test_a_plan_of_impossible_shares_is_refused(shares: dict):
    with pytest.raises(ConfigurationError):
        StreamFaultPlan(1, shares)


def test_armed_faults_go_before_the_plan():
    faults = StreamFaults(StreamFaultPlan(1, {StreamFaultKind.MISSING_CONFIRM: 1.0}))
    faults.arm(ArmedStreamFault(kind=StreamFaultKind.LATE_CONFIRM))
    met = [faults.at_confirm(Channel(*BTC), time) for time in (0, MINUTE_MS)]
    assert [fault.kind for fault in met if fault] == [StreamFaultKind.LATE_CONFIRM, StreamFaultKind.MISSING_CONFIRM]


def test_the_command_serves_the_stream_and_withholds_the_share_of_confirms_that_it_was_told():
    command = ["simulate", "--start-at", "2024-01-01", "--speed", "600", "--missing-confirms", "1"]

    async def listen(base_url: str) -> dict:
        async with listening(base_url) as listener, asyncio.timeout(PATIENCE_S):
            await subscribed(listener, BTC)
            while True:
                async with aiohttp.request("GET", f"{base_url}/simulator/streams") as response:
                    journal = await response.json()
                if journal["spoilt"]:
                    return journal
                await asyncio.sleep(0.05)

    with subprocess.Popen(
        [sys.executable, "-m", "chandlery", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            [base_url] = re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            journal = asyncio.run(listen(base_url))
        finally:
            process.terminate()
        assert process.wait(10) == 0
    assert (journal["confirms"], journal["spoilt"][0]["fault"]) == (0, "missing_confirm")
