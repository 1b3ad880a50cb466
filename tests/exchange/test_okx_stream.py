"""OKX's candle stream as its reader sees it: what is pushed, what is lost and regained, and what a bad day changes.

Against the simulator, whose clock stands still unless a test moves it; the contract also against the real exchange
where CHANDLERY_TEST_REAL_EXCHANGE=1.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from chandlery.domain.candle import COLUMNS
from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.resilience import Backoff
from chandlery.domain.span import Span
from chandlery.domain.timeframe import timeframe
from chandlery.errors import ConfigurationError
from chandlery.exchange.event_queue import EventQueue
from chandlery.exchange.okx import OkxSettings, OkxSource, StreamSettings, stream_connection
from chandlery.exchange.okx.stream import OkxStream
from chandlery.exchange.okx.stream_wire import Denied
from chandlery.exchange.okx.subscribing import Subscribing
from chandlery.exchange.okx.subscriptions import channels
from chandlery.exchange.stream import Lost, Pushed, Refused, StreamEvent, Subscribed, Unreadable
from chandlery.simulator import (
    FixedClock,
    RateLimits,
    RunningClock,
    SeededMarket,
    Simulator,
    StreamFaultKind,
)

NOW_MS = 1_781_094_870_500  # half a minute into a minute
MINUTE_MS = 60_000
FIRST_MS = NOW_MS // MINUTE_MS * MINUTE_MS
PATIENCE_S = 20.0
SYMBOLS = ["BTC-USDT", "ETH-USDT", "SOL-USDT", "BTC-USDT-SWAP", "BTC-USD-SWAP"]
QUICK = Backoff(base_s=0.01, cap_s=0.05)


def wanted(simulator: Simulator, *symbols: str, bar: str = "1m") -> list[tuple[Instrument, Series]]:
    listings = simulator.market.listings
    return [(listings[s].instrument, Series("okx-simulated", s, timeframe(bar))) for s in symbols or SYMBOLS]


@asynccontextmanager
async def served(**options: object) -> AsyncIterator[Simulator]:
    clock = options.pop("clock", None) or FixedClock(NOW_MS)
    async with Simulator(SeededMarket(7), clock=clock, **options) as simulator:  # type: ignore[arg-type]
        yield simulator


def okx(simulator: Simulator, backoff: Backoff = QUICK) -> OkxSettings:
    return OkxSettings(base_url=simulator.base_url, backoff=backoff)


class Reader:
    """Reads a stream and remembers everything."""

    def __init__(self, stream: OkxStream) -> None:
        self.stream = stream
        self.events: list[StreamEvent] = []

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not enough():
                self.events += await self.stream.batch()

    def of(self, kind: type) -> list:
        return [event for event in self.events if type(event) is kind]

    def subscribed(self) -> set[str]:
        return {series.symbol for event in self.of(Subscribed) for series in event.series}

    def confirmed(self, symbol: str = "BTC-USDT") -> list[int]:
        pushes = [event for event in self.of(Pushed) if event.confirmed and event.series.symbol == symbol]
        return [time for push in pushes for time in push.rows.open_time.tolist()]

    async def until_subscribed(self, *symbols: str) -> None:
        await self.until(lambda: self.subscribed() >= set(symbols or SYMBOLS))

    async def until_confirmed(self, count: int, symbol: str = "BTC-USDT") -> None:
        await self.until(lambda: len(self.confirmed(symbol)) >= count)


Script = Callable[[Simulator, Reader], Awaitable[None]]


def play(
    script: Script,
    *symbols: str,
    stream: StreamSettings | None = None,
    backoff: Backoff = QUICK,
    **options: object,
) -> None:
    """Run a script with a simulator and the reader of a stream of ``symbols``, once all of them are subscribed."""

    async def run() -> None:
        async with served(**options) as simulator:
            series = wanted(simulator, *symbols)
            async with OkxStream(series, okx(simulator, backoff), stream=stream) as opened:
                reader = Reader(opened)
                await reader.until_subscribed(*symbols)
                await script(simulator, reader)

    asyncio.run(run())


async def becomes(true: Callable[[], bool]) -> None:
    """Return once something in the simulator, which calls nobody back, is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def minutes(count: int, start: int = FIRST_MS) -> list[int]:
    return list(range(start, start + count * MINUTE_MS, MINUTE_MS))


# --- what is pushed


def test_closed_candles_are_pushed_as_the_rest_endpoint_has_them_volumes_included() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        simulator.clock.advance(3 * MINUTE_MS)
        for symbol in SYMBOLS:
            await reader.until_confirmed(3, symbol)
        async with OkxSource(okx(simulator)) as source:
            for instrument, series in wanted(simulator):
                page = await source.page(instrument, series, Span(FIRST_MS, FIRST_MS + 3 * MINUTE_MS))
                pushes = [push for push in reader.of(Pushed) if push.series == series and push.confirmed]
                for name in COLUMNS:
                    pushed = [value for push in pushes for value in getattr(push.rows, name).tolist()]
                    assert pushed == sorted(getattr(page.rows, name).tolist(), key=pushed.index)
                assert [json.loads(push.raw(0)) for push in pushes] == [
                    json.loads(page.raw(position)) for position in page.rows.open_time.argsort().tolist()
                ]

    play(script)


def test_the_open_candle_is_told_apart_from_closed_ones() -> None:
    async def script(_: Simulator, reader: Reader) -> None:
        await reader.until(lambda: len({push.series for push in reader.of(Pushed)}) == len(SYMBOLS))
        assert all(push.confirmed is False for push in reader.of(Pushed))
        assert all(push.rows.open_time.tolist() == [FIRST_MS] for push in reader.of(Pushed))
        assert all(time.monotonic() - push.received_s < PATIENCE_S for push in reader.of(Pushed))

    play(script)


@pytest.mark.parametrize("bar", ["1m", "1h", "1d", "1M"])
def test_every_timeframe_is_the_one_that_aligns_with_utc(bar: str) -> None:
    async def run() -> None:
        async with served() as simulator:
            series = wanted(simulator, "BTC-USDT", bar=bar)
            async with OkxStream(series, okx(simulator)) as opened:
                reader = Reader(opened)
                await reader.until_subscribed("BTC-USDT")
                frame = timeframe(bar)
                simulator.clock.advance(frame.close_of(frame.close_of(NOW_MS)) - NOW_MS)
                await reader.until_confirmed(2)
                assert reader.confirmed() == [frame.floor(NOW_MS), frame.close_of(NOW_MS)]

    asyncio.run(run())


def test_a_fast_clock_gives_every_bar_in_order() -> None:
    async def script(_: Simulator, reader: Reader) -> None:
        for symbol in SYMBOLS:
            await reader.until_confirmed(40, symbol)
            times = reader.confirmed(symbol)
            assert times == minutes(len(times), times[0])

    play(script, clock=RunningClock(NOW_MS, 3_600))


def test_events_can_be_read_one_by_one_until_the_stream_is_closed() -> None:
    async def run() -> None:
        async with served() as simulator:
            async with OkxStream(wanted(simulator, "BTC-USDT"), okx(simulator)) as stream:
                assert {type(await anext(stream)) for _ in range(2)} == {Subscribed, Pushed}
            assert [event async for event in stream] == []
            assert await stream.batch() == []

    asyncio.run(run())


# --- connections and limits


def test_series_are_spread_over_connections_and_all_of_them_are_pushed() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        connections = simulator.stream_journal.connections
        assert sorted(len(each.channels) for each in connections) == [1, 2, 2]
        assert sorted(each.requests for each in connections) == [1, 2, 2]
        simulator.clock.advance(MINUTE_MS)
        for symbol in SYMBOLS:
            await reader.until_confirmed(1, symbol)

    play(script, stream=StreamSettings(channels_per_connection=2, channels_per_request=1))


def test_connections_are_begun_no_faster_than_the_exchange_allows() -> None:
    async def script(_: Simulator, reader: Reader) -> None:
        assert reader.of(Lost) == []

    play(script, stream=StreamSettings(channels_per_connection=1), rate_limits=RateLimits())


def test_a_quiet_connection_is_kept_alive_by_pings() -> None:
    async def script(simulator: Simulator, _: Reader) -> None:
        (connection,) = simulator.stream_journal.connections
        await becomes(lambda: connection.pings >= 4)
        assert connection.closed_at is None

    # a suspended instrument has no candles to push
    play(script, "LUNA-USDT", stream=StreamSettings(ping_after_s=0.1, pong_within_s=5.0), stream_idle_s=0.3)


@pytest.mark.parametrize(
    "change", [{"share": 0.0}, {"share": 1.1}, {"channels_per_connection": 0}, {"most_waiting": 0}]
)
def test_settings_that_cannot_be_are_refused(change: dict) -> None:
    with pytest.raises(ConfigurationError):
        StreamSettings(**change)


@pytest.mark.parametrize(
    ("base_url", "demo", "stream_url"),
    [
        ("https://openapi.okx.com", False, "wss://ws.okx.com:8443/ws/v5/business"),
        ("https://www.okx.com", True, "wss://wspap.okx.com:8443/ws/v5/business"),
        ("https://eea.okx.com/", False, "wss://wseea.okx.com:8443/ws/v5/business"),
        ("https://eea.okx.com", True, "wss://wseeapap.okx.com:8443/ws/v5/business"),
        ("https://us.okx.com", False, "wss://wsus.okx.com:8443/ws/v5/business"),
        ("http://127.0.0.1:8080", False, "ws://127.0.0.1:8080/ws/v5/business"),
        ("https://proxy.example/okx/", False, "wss://proxy.example/okx/ws/v5/business"),
        ("https://notokx.com", False, "wss://notokx.com/ws/v5/business"),
    ],
)
def test_the_stream_is_that_of_the_same_environment(base_url: str, demo: bool, stream_url: str) -> None:
    assert OkxSettings(base_url=base_url, demo=demo).stream_url == stream_url


# --- losses


async def regained(reader: Reader, reason: str) -> None:
    """A loss of all series for ``reason``, and the subscription that follows."""
    await reader.until(lambda: bool(reader.of(Lost)) and reader.of(Subscribed)[-1].again)
    (lost,) = reader.of(Lost)
    assert reason in lost.reason
    assert {series.symbol for series in lost.series} == set(SYMBOLS)
    assert reader.events.index(lost) < reader.events.index(reader.of(Subscribed)[-1])


def test_a_cut_connection_is_made_again_and_goes_on_pushing() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        assert [event.again for event in reader.of(Subscribed)] == [False]
        simulator.drop_streams()
        await regained(reader, "broke")
        simulator.clock.advance(MINUTE_MS)
        await reader.until_confirmed(1)

    play(script)


def test_a_silent_connection_is_given_up_when_no_pong_comes() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        simulator.arm_stream(StreamFaultKind.SILENCE)
        simulator.clock.advance(MINUTE_MS)
        await regained(reader, "has not said anything")

    play(script, stream=StreamSettings(ping_after_s=0.15, pong_within_s=0.1))


def test_after_a_notice_the_connection_is_made_anew_without_waiting() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        simulator.arm_stream(StreamFaultKind.NOTICE, duration_s=60.0)
        simulator.clock.advance(MINUTE_MS)
        await regained(reader, "upgrade")

    play(script, backoff=Backoff(base_s=3_600.0, cap_s=3_600.0))


def test_a_connection_that_the_exchange_closes_is_made_again() -> None:
    async def script(_: Simulator, reader: Reader) -> None:
        await reader.until(lambda: bool(reader.of(Lost)))
        assert "4004" in reader.of(Lost)[0].reason
        await reader.until(lambda: reader.of(Subscribed)[-1].again)

    play(script, "LUNA-USDT", stream_idle_s=0.2)


def test_the_loss_of_one_connection_takes_no_other_series_along() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        simulator.arm_stream(StreamFaultKind.DROP, inst_id="ETH-USDT")
        simulator.clock.advance(MINUTE_MS)
        others = [symbol for symbol in SYMBOLS if symbol != "ETH-USDT"]
        await reader.until(lambda: any(event.again for event in reader.of(Subscribed)))
        for symbol in others:
            await reader.until_confirmed(1, symbol)
        assert [[series.symbol for series in lost.series] for lost in reader.of(Lost)] == [["ETH-USDT"]]
        assert reader.confirmed("ETH-USDT") == []
        simulator.clock.advance(MINUTE_MS)
        await reader.until_confirmed(1, "ETH-USDT")

    play(script, stream=StreamSettings(channels_per_connection=1))


def test_a_loss_is_told_once_however_often_the_connection_cannot_be_made() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        simulator.outage(0.6)
        await reader.until(lambda: reader.of(Subscribed)[-1].again)
        assert len(reader.of(Lost)) == 1

    play(script)


def test_an_exchange_that_is_away_at_the_start_is_told_and_then_found() -> None:
    async def run() -> None:
        async with served() as simulator:
            simulator.outage(0.3)
            async with OkxStream(wanted(simulator), okx(simulator)) as opened:
                reader = Reader(opened)
                await reader.until_subscribed()
                assert "cannot be reached" in reader.of(Lost)[0].reason
                assert [event.again for event in reader.of(Subscribed)] == [False]

    asyncio.run(run())


def test_a_closed_stream_leaves_no_task_behind_even_if_nobody_read_it() -> None:
    async def run() -> None:
        async with served() as simulator:
            before = asyncio.all_tasks()
            async with OkxStream(wanted(simulator), okx(simulator), stream=StreamSettings(most_waiting=1)):
                await becomes(lambda: any(each.channels for each in simulator.stream_journal.connections))
                simulator.clock.advance(30 * MINUTE_MS)
                await asyncio.sleep(0.05)
            simulator.drop_streams()
            ours = [task for task in asyncio.all_tasks() - before if "okx" in repr(task.get_coro())]
            assert ours == []

    asyncio.run(run())


# --- refusals


def test_a_refused_request_is_asked_again_until_all_series_are_subscribed() -> None:
    async def run() -> None:
        async with served() as simulator:
            simulator.arm_stream(StreamFaultKind.ILLEGAL_REQUEST, count=2)
            async with OkxStream(wanted(simulator), okx(simulator)) as opened:
                reader = Reader(opened)
                await reader.until_subscribed()
                assert reader.of(Refused) == []

    asyncio.run(run())


def test_an_unknown_instrument_is_refused_alone() -> None:
    async def run() -> None:
        async with served() as simulator:
            series = wanted(simulator)
            unknown = Series("okx-simulated", "NO-SUCH", timeframe("1m"))
            async with OkxStream([*series[:2], (series[0][0], unknown), *series[2:]], okx(simulator)) as opened:
                reader = Reader(opened)
                await reader.until(lambda: reader.subscribed() == set(SYMBOLS) and bool(reader.of(Refused)))
                (refused,) = reader.of(Refused)
                assert (refused.series, refused.error.code) == (unknown, "60018")
                assert "NO-SUCH" in str(refused.error)
                assert reader.of(Lost) == []

    asyncio.run(run())


@asynccontextmanager
async def strict_exchange(bad: set[str], *, silent: bool) -> AsyncIterator[str]:
    """An exchange that refuses a request whole if one of its instruments is bad, or does not answer it at all."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            arguments = json.loads(message.data)["args"]
            if not bad & {argument["instId"] for argument in arguments}:
                for argument in arguments:
                    await socket.send_json({"event": "subscribe", "arg": argument, "connId": "1"})
            elif not silent:
                await socket.send_json({"event": "error", "code": "60018", "msg": "no", "connId": "1"})
        return socket

    application = web.Application()
    application.router.add_get("/ws/v5/business", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("silent", [False, True])
def test_an_exchange_that_refuses_whole_requests_costs_only_the_series_that_are_wrong(silent: bool) -> None:
    async def run() -> None:
        instruments = [f"C{number}-USDT" for number in range(20)]
        bad = {"C3-USDT", "C4-USDT", "C17-USDT"}
        async with strict_exchange(bad, silent=silent) as base_url, served() as simulator:
            any_instrument = wanted(simulator)[0][0]
            series = [(any_instrument, Series("okx-simulated", symbol, timeframe("1m"))) for symbol in instruments]
            settings = StreamSettings(answer_within_s=0.05 if silent else 10.0)
            async with OkxStream(series, OkxSettings(base_url=base_url), stream=settings) as opened:
                reader = Reader(opened)
                await reader.until(lambda: len(reader.subscribed()) + len(reader.of(Refused)) == len(instruments))
                assert {refused.series.symbol for refused in reader.of(Refused)} == bad
                assert reader.subscribed() == set(instruments) - bad

    asyncio.run(run())


def test_an_error_about_an_earlier_request_is_not_held_against_the_present_one() -> None:
    async def run() -> None:
        queue = EventQueue[StreamEvent](10)
        async with served() as simulator:
            wanted_channels = channels(wanted(simulator, "BTC-USDT"))
        (channel,) = wanted_channels

        async def send(_request: str) -> None:
            subscribing.denied(Denied("60018", "no", "0"))
            asyncio.get_running_loop().call_later(0.01, subscribing.acknowledged, channel)

        subscribing = Subscribing(wanted_channels, StreamSettings(), queue, send, clock=time.monotonic, known=set())
        await subscribing.run()
        assert [type(event) for event in await queue.get_all()] == [Subscribed]

    asyncio.run(run())


# --- what is pushed wrongly


@pytest.mark.parametrize(
    ("kind", "arriving"),
    [
        (StreamFaultKind.MISSING_CONFIRM, [FIRST_MS + MINUTE_MS]),
        (StreamFaultKind.LATE_CONFIRM, [FIRST_MS + MINUTE_MS, FIRST_MS]),
        (StreamFaultKind.DOUBLED_CONFIRM, [FIRST_MS, FIRST_MS, FIRST_MS + MINUTE_MS]),
    ],
)
def test_confirms_are_passed_on_as_they_come(kind: StreamFaultKind, arriving: list[int]) -> None:
    """Missing, late, doubled: whoever stores candles deals with that; the stream neither waits nor guesses."""

    async def script(simulator: Simulator, reader: Reader) -> None:
        simulator.arm_stream(kind, inst_id="BTC-USDT", duration_s=0.1)
        simulator.clock.advance(2 * MINUTE_MS)
        await reader.until_confirmed(len(arriving))
        assert reader.confirmed() == arriving

    play(script)


@pytest.mark.parametrize("kind", [StreamFaultKind.GARBAGE, StreamFaultKind.TRUNCATED])
def test_a_message_that_cannot_be_read_is_told_and_costs_nothing_else(kind: StreamFaultKind) -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        simulator.arm_stream(kind, count=2)
        simulator.clock.advance(2 * MINUTE_MS)
        await reader.until_confirmed(2, "BTC-USD-SWAP")
        await reader.until(lambda: bool(reader.of(Unreadable)))
        assert sum(event.count for event in reader.of(Unreadable)) == 2
        assert all(event.text.isprintable() for event in reader.of(Unreadable))
        assert reader.of(Lost) == []

    play(script)


def test_a_message_larger_than_any_candle_ends_the_connection() -> None:
    async def script(_: Simulator, reader: Reader) -> None:
        await reader.until(lambda: bool(reader.of(Lost)))
        assert "1009" in reader.of(Lost)[0].reason

    play(script, "BTC-USDT", stream=StreamSettings(largest_message=150))


ARGUMENT = '{"channel":"candle1m","instId":"BTC-USDT"}'
ROW = f'["{FIRST_MS}","1","1","1","1","1","1","1","1"]'


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "[[[[", '{"event": 7}', '{"arg": {}, "data": []}', f'{{"arg": {ARGUMENT}}}',
     f'{{"arg": {ARGUMENT}, "data": {{}}}}', f'{{"arg": {ARGUMENT}, "data": [["1"]]}}',
     f'{{"arg": {ARGUMENT}, "data": [{ROW.replace(str(FIRST_MS), "soon")}]}}',
     f'{{"arg": {{"channel": "candle1m", "instId": "OTHER"}}, "data": [{ROW}]}}'],
)  # fmt: skip
def test_nonsense_is_passed_over_and_the_next_candle_is_read(text: str) -> None:
    async def run() -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.receive()
            await socket.send_str(f'{{"event": "subscribe", "arg": {ARGUMENT}}}')
            await socket.send_str(text)
            await socket.send_bytes(b"\x00")
            await socket.send_str(f'{{"arg": {ARGUMENT}, "data": [{ROW}]}}')
            await socket.receive()
            return socket

        application = web.Application()
        application.router.add_get("/ws/v5/business", handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with (
            served() as simulator,
            OkxStream(wanted(simulator, "BTC-USDT"), OkxSettings(base_url=base_url)) as opened,
        ):
            reader = Reader(opened)
            await reader.until_confirmed(1)
            assert sum(event.count for event in reader.of(Unreadable)) == 2
        await runner.cleanup()

    asyncio.run(run())


def test_rows_of_one_message_come_in_order_and_closed_ones_apart_from_the_open_one() -> None:
    """The exchange sends one row a message; more of them in any order are understood as well."""

    async def run() -> None:
        queue = EventQueue[StreamEvent](10)
        async with served() as simulator:
            connection = stream_connection.StreamConnection(
                None,
                channels(wanted(simulator, "BTC-USDT")),
                StreamSettings(),
                queue,
                clock=time.monotonic,
                known=set(),  # type: ignore[arg-type]
            )
            rows = [[str(FIRST_MS + n * MINUTE_MS), *["1"] * 7, "0" if n == 2 else "1"] for n in (2, 1, 0)]
            await connection._take(f'{{"arg": {ARGUMENT}, "data": {json.dumps(rows)}}}')
        closed, running = await queue.get_all()
        assert isinstance(closed, Pushed)
        assert isinstance(running, Pushed)
        assert (closed.confirmed, closed.rows.open_time.tolist()) == (True, minutes(2))
        assert (running.confirmed, running.rows.open_time.tolist()) == (False, [FIRST_MS + 2 * MINUTE_MS])
        assert json.loads(closed.raw(1)) == rows[1]

    asyncio.run(run())


# --- slow readers


def test_a_slow_reader_gets_every_closed_candle_in_order_and_few_wait_for_it() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        queue = reader.stream._queue
        for _ in range(20):
            simulator.clock.advance(20 * MINUTE_MS)
            await asyncio.sleep(0.03)
            assert len(queue) <= 5 + len(SYMBOLS)
        assert len(queue) >= 5
        for symbol in SYMBOLS:
            await reader.until_confirmed(400, symbol)
            assert reader.confirmed(symbol) == minutes(400)
        assert reader.of(Lost) == []

    play(script, stream=StreamSettings(most_waiting=5, ping_after_s=0.1, pong_within_s=0.1))


def test_an_open_candle_that_nobody_has_read_is_replaced_by_its_newer_state() -> None:
    async def script(simulator: Simulator, reader: Reader) -> None:
        reader.events += await reader.stream.batch()
        received = simulator.stream_journal.connections[0]
        await asyncio.sleep(1.1)
        waiting = await reader.stream.batch()
        assert received.closed_at is None
        assert [type(event) for event in waiting] == [Pushed] * len(SYMBOLS)
        assert len({event.series for event in waiting if isinstance(event, Pushed)}) == len(SYMBOLS)

    play(script)


def test_an_error_of_our_own_reaches_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        async with served() as simulator, OkxStream(wanted(simulator), okx(simulator)) as opened:
            monkeypatch.setattr(stream_connection.wire, "candles", broken)
            with pytest.raises(ExceptionGroup) as raised:
                await Reader(opened).until(lambda: False)
            assert raised.group_contains(ZeroDivisionError)

    asyncio.run(run())


# --- the contract, also with the real exchange


EXCHANGES = ["simulator"] + (["real"] if os.environ.get("CHANDLERY_TEST_REAL_EXCHANGE") == "1" else [])


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_closed_minute_is_pushed_and_equals_that_of_the_rest_endpoint(exchange: str) -> None:
    async def contract(settings: OkxSettings, patience_s: float) -> None:
        async with OkxSource(settings) as source:
            listed = {each.symbol: each for each in await source.instruments()}
            minute = timeframe("1m")
            series = [(listed[s], Series(source.exchange, s, minute)) for s in ("BTC-USDT", "BTC-USDT-SWAP")]
            closed: dict[Series, Pushed] = {}
            async with asyncio.timeout(patience_s), OkxStream(series, settings) as stream:
                async for event in stream:
                    if isinstance(event, Pushed) and event.confirmed:
                        closed[event.series] = event
                    if len(closed) == len(series):
                        break
            for instrument, each in series:
                open_time = int(closed[each].rows.open_time[-1])
                page = await source.page(instrument, each, Span(open_time, open_time + MINUTE_MS))
                for name in COLUMNS:
                    assert getattr(page.rows, name).tolist() == getattr(closed[each].rows, name).tolist()[-1:]

    async def run() -> None:
        if exchange == "real":
            await contract(OkxSettings(), 150.0)
            return
        async with served(clock=RunningClock(NOW_MS, 60)) as simulator:
            await contract(okx(simulator), PATIENCE_S)

    asyncio.run(run())
