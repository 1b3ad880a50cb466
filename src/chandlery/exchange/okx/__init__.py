"""The OKX exchange, v5 market data. Its names of bars, volumes and errors are known here and nowhere else."""

from __future__ import annotations

from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.session import EventKind, ExchangeEvent
from chandlery.exchange.okx.settings import DOCUMENTED_LIMITS, LIMITS, Endpoint, OkxSettings
from chandlery.exchange.okx.stream_settings import StreamSettings

__all__ = [
    "DOCUMENTED_LIMITS",
    "LIMITS",
    "Endpoint",
    "EventKind",
    "ExchangeEvent",
    "OkxSettings",
    "OkxSource",
    "StreamSettings",
]
