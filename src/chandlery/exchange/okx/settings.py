"""What a connection to OKX needs to know, and the limits that OKX documents."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit

from chandlery.domain.resilience import Backoff
from chandlery.errors import ConfigurationError
from chandlery.exchange.okx.paging import LARGEST_PAGE
from chandlery.exchange.pacing import RateLimit


class Endpoint(StrEnum):
    """The public endpoints in use; the value is the path."""

    CANDLES = "/api/v5/market/candles"
    HISTORY_CANDLES = "/api/v5/market/history-candles"
    INSTRUMENTS = "/api/v5/public/instruments"
    TIME = "/api/v5/public/time"
    FILE_LISTING = "/api/v5/public/market-data-history"
    FILES = "/cdn/okex/traderecords/candlesticks"
    """The folder of the files of candles, on a host of their own; their links come in the listing."""


DOCUMENTED_LIMITS: Mapping[Endpoint, RateLimit] = MappingProxyType(
    {
        Endpoint.CANDLES: RateLimit(requests=40, window_s=2.0),
        Endpoint.HISTORY_CANDLES: RateLimit(requests=20, window_s=2.0),
        Endpoint.INSTRUMENTS: RateLimit(requests=20, window_s=2.0),
        Endpoint.TIME: RateLimit(requests=10, window_s=2.0),
        Endpoint.FILE_LISTING: RateLimit(requests=5, window_s=2.0),
    }
)

LIMITS: Mapping[Endpoint, RateLimit] = MappingProxyType(
    {
        **DOCUMENTED_LIMITS,
        # it was seen to refuse one request a second, in spite of its documentation
        Endpoint.FILE_LISTING: RateLimit(requests=1, window_s=2.0),
        # nothing is documented for the host of the files: slower than what its pages permit
        Endpoint.FILES: RateLimit(requests=5, window_s=2.0),
    }
)
"""The limits to keep: the documented ones, and assumed ones where they are absent or were seen not to hold."""


STREAM_PATH = "/ws/v5/business"
"""Where candles are pushed; the public path, where they once were, pushes none."""
_STREAM_HOSTS = {"eea.okx.com": ("wseea", "wseeapap"), "us.okx.com": ("wsus", "wsuspap")}
_STREAM_HOSTS_ELSEWHERE = ("ws", "wspap")


@dataclass(frozen=True, slots=True, kw_only=True)
class OkxSettings:
    """How to reach OKX and how hard to try.

    ``share`` is the part of each rate limit to use, at most 1. ``attempts`` is how often one request is tried in all;
    ``patience_s`` how long it waits, once the host no longer answers at all, before it gives up. ``timeout_s`` and
    ``connect_timeout_s`` bound one try; ``largest_body`` is in bytes, after decompression; ``longest_retry_after_s``
    caps what a Retry-After header may ask for; ``clock_age_s`` is the age at which the measured difference between
    the exchange's clock and ours is measured anew. ``file_attempts`` is how often a file or a listing is tried, for
    pages have the same candles; ``file_timeout_s`` bounds a download. An endpoint that ``limits`` does not name keeps
    its limit of ``LIMITS``. Raises ConfigurationError for what cannot be.
    """

    base_url: str = "https://openapi.okx.com"
    demo: bool = False
    share: float = 0.9
    page_size: int = LARGEST_PAGE
    limits: Mapping[Endpoint, RateLimit] = field(default_factory=lambda: LIMITS)
    timeout_s: float = 10.0
    connect_timeout_s: float = 5.0
    attempts: int = 8
    patience_s: float = 120.0
    backoff: Backoff = field(default_factory=Backoff)
    largest_body: int = 16 * 2**20
    longest_retry_after_s: float = 60.0
    clock_age_s: float = 60.0
    file_attempts: int = 3
    file_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        _require(_is_http_url(self.base_url), f"base_url {self.base_url!r} is not an http or https address.")
        _require(0 < self.share <= 1, f"share must be above 0 and at most 1, not {self.share}.")
        _require(0 < self.page_size <= LARGEST_PAGE, f"page_size must be 1 to {LARGEST_PAGE}, not {self.page_size}.")
        _require(self.attempts >= 1, f"attempts must be at least 1, not {self.attempts}.")

    @property
    def is_simulated(self) -> bool:
        """Whether ``base_url`` is this machine itself, where only a simulator can answer."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    @property
    def exchange(self) -> str:
        """The name under which candles are stored: simulated and demo candles never meet real ones."""
        if self.is_simulated:
            return "okx-simulated"
        return "okx-demo" if self.demo else "okx"

    @property
    def stream_url(self) -> str:
        """Where the candle stream of the same environment is, such as ``wss://ws.okx.com:8443/ws/v5/business``.

        A host that is none of OKX's, such as a simulator or a proxy, is taken to serve it beside the REST endpoints.
        """
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        if host != "okx.com" and not host.endswith(".okx.com"):
            scheme = "wss" if parts.scheme == "https" else "ws"
            return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{STREAM_PATH}"
        real, demo = _STREAM_HOSTS.get(host, _STREAM_HOSTS_ELSEWHERE)
        return f"wss://{demo if self.demo else real}.okx.com:8443{STREAM_PATH}"


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigurationError(message)


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
