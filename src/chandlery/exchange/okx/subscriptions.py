"""What to subscribe on which connection, and in which requests: lists cut by the exchange's limits, and no network.

A refused request is halved until the one channel that is wrong is found, which takes fewer than twice as many requests
as it has channels. So a connection of up to 200 channels stays within the 480 requests an hour that it may send.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from chandlery.domain.instrument import Instrument, Kind, Series
from chandlery.exchange.okx import wire

T = TypeVar("T")


class Channel(NamedTuple):
    """A series as the stream names it: ``candle1m`` of ``BTC-USDT``."""

    name: str
    symbol: str

    @property
    def size(self) -> int:
        """Bytes that it takes in a list of channels."""
        return len(msgspec.json.encode(self.as_argument())) + 1

    def as_argument(self) -> dict[str, str]:
        """The argument that subscribes it."""
        return {"channel": self.name, "instId": self.symbol}


class Target(NamedTuple):
    """Whose candles come through a channel."""

    series: Series
    kind: Kind


def channels(wanted: Iterable[tuple[Instrument, Series]]) -> dict[Channel, Target]:
    """The channels that push the wanted series, each of them once."""
    return {
        Channel(f"candle{wire.bar(series.timeframe)}", series.symbol): Target(series, instrument.kind)
        for instrument, series in wanted
    }


def lists(channels: Iterable[Channel], *, most: int, most_bytes: int) -> Iterator[tuple[Channel, ...]]:
    """The channels cut into lists, in their order, of at most so many channels and bytes.

    A channel that alone is too large gets a list of its own.
    """
    taken: list[Channel] = []
    size = 0
    for channel in channels:
        if taken and (len(taken) == most or size + channel.size > most_bytes):
            yield tuple(taken)
            taken, size = [], 0
        taken.append(channel)
        size += channel.size
    if taken:
        yield tuple(taken)


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The first and the second half of two or more items."""
    middle = len(items) // 2
    return items[:middle], items[middle:]


def subscribe_request(number: int, channels: Iterable[Channel]) -> str:
    """The text that subscribes ``channels``; the answers to it bear ``number``."""
    arguments = [channel.as_argument() for channel in channels]
    return msgspec.json.encode({"id": str(number), "op": "subscribe", "args": arguments}).decode()
