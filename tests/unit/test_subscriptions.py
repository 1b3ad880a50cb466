"""Subscriptions are cut by the limits, and lose nothing on the way."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.instrument import Instrument, Kind, Series
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.exchange.okx.stream_settings import REQUESTS, StreamSettings
from chandlery.exchange.okx.subscriptions import Channel, channels, halves, lists, subscribe_request

SYMBOLS = st.text("ABCXYZ0123456789", min_size=1, max_size=60).map(lambda text: f"{text}-USDT")
CHANNELS = st.builds(Channel, st.sampled_from(["candle1m", "candle1Dutc"]), SYMBOLS)


@given(st.lists(CHANNELS, unique=True), st.integers(1, 20), st.integers(1, 2_000))
def test_lists_hold_every_channel_once_in_order_and_stay_inside_both_limits(
    wanted: list[Channel], most: int, most_bytes: int
) -> None:
    cut = list(lists(wanted, most=most, most_bytes=most_bytes))
    assert [channel for each in cut for channel in each] == wanted
    assert all(1 <= len(each) <= most for each in cut)
    assert all(len(each) == 1 or sum(channel.size for channel in each) <= most_bytes for each in cut)


@given(st.lists(CHANNELS, unique=True), st.integers(1, 20), st.integers(1, 2_000))
def test_no_list_could_have_taken_the_first_channel_of_the_next(
    wanted: list[Channel], most: int, most_bytes: int
) -> None:
    cut = list(lists(wanted, most=most, most_bytes=most_bytes))
    for each, following in itertools.pairwise(cut):
        full = len(each) == most
        assert full or sum(channel.size for channel in (*each, following[0])) > most_bytes


@given(st.lists(CHANNELS, min_size=1, unique=True), st.integers(0, 2**31))
def test_the_size_of_channels_is_what_they_take_in_a_request(wanted: list[Channel], number: int) -> None:
    text = subscribe_request(number, wanted)
    request = json.loads(text)
    assert (request["id"], request["op"]) == (str(number), "subscribe")
    assert [Channel(each["channel"], each["instId"]) for each in request["args"]] == wanted
    assert len(text) <= sum(channel.size for channel in wanted) + len(subscribe_request(number, []))


@given(st.lists(st.integers(), min_size=2))
def test_halves_are_two_and_lose_nothing(items: list[int]) -> None:
    first, second = halves(items)
    assert [*first, *second] == items
    assert abs(len(first) - len(second)) <= 1
    assert first
    assert second


@given(st.integers(1, 200), st.integers(1, 200))
def test_even_if_every_channel_is_refused_a_connection_stays_inside_its_requests(total: int, a_request: int) -> None:
    """Counted as the client does it: a refused list is halved until each channel stands alone."""
    settings = StreamSettings()
    assert settings.channels_per_connection == 200
    requests = [min(a_request, total - start) for start in range(0, total, a_request)]
    sent = sum(2 * channels - 1 for channels in requests)
    assert sent <= REQUESTS.requests * settings.share


def test_a_series_has_the_channel_of_its_utc_bar_and_only_one() -> None:
    btc = Instrument(exchange="okx", symbol="BTC-USDT", kind=Kind.SPOT, base="BTC", quote="USDT")
    wanted = [(btc, Series("okx", "BTC-USDT", timeframe)) for timeframe in TIMEFRAMES.values()]
    made = channels(wanted * 2)
    assert [target.series for target in made.values()] == [series for _, series in wanted]
    assert {"candle1m", "candle1H", "candle1Dutc", "candle1Mutc"} < {channel.name for channel in made}
