"""The messages of OKX's stream, read by type. Whatever is not the protocol raises ExchangeUnavailable."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from chandlery.errors import ExchangeUnavailable
from chandlery.exchange.okx.subscriptions import Channel

PING, PONG = "ping", "pong"
UPGRADE = "64008"
"""The code of the notice that the connection is about to be closed for an upgrade."""
UNKNOWN_CHANNEL = "60018"
"""The code for a channel or an instrument that does not exist: asking again cannot help."""


@dataclass(frozen=True, slots=True)
class Push:
    """Rows of candles, still as JSON text."""

    channel: Channel
    data: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A channel is subscribed."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Denied:
    """A request, or a part of it, was refused; ``request`` is its number as text, empty where it is not told."""

    code: str
    said: str
    request: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the exchange wants known."""

    code: str
    said: str


@dataclass(frozen=True, slots=True)
class Other:
    """A message that is of no use here."""


Message = Push | Acknowledged | Denied | Notice | Other


class _Argument(msgspec.Struct, rename="camel"):
    channel: str
    inst_id: str


class _Message(msgspec.Struct):
    event: str | None = None
    arg: _Argument | None = None
    data: msgspec.Raw = msgspec.Raw()
    code: str | int = ""
    msg: str | None = None
    id: str | None = None


def message(text: str) -> Message:
    """One message of the stream."""
    if text == PONG:
        return Other()
    try:
        read = msgspec.json.decode(text, type=_Message)
    except (ValueError, RecursionError) as error:
        raise ExchangeUnavailable("OKX pushed something that is not its protocol.") from error
    if read.event is None:
        if read.arg is None or not bytes(read.data):
            raise ExchangeUnavailable("OKX pushed candles without telling which, or none.")
        return Push(_channel(read.arg), read.data)
    return _event(read.event, read)


def _event(event: str, read: _Message) -> Message:
    said = read.msg or ""
    if event == "error":
        return Denied(str(read.code), said, read.id or "")
    if event == "notice":
        return Notice(str(read.code), said)
    if event == "subscribe" and read.arg is not None:
        return Acknowledged(_channel(read.arg))
    return Other()


def _channel(argument: _Argument) -> Channel:
    return Channel(argument.channel, argument.inst_id)
