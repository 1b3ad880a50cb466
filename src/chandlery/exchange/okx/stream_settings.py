"""How the candle stream of OKX is used: its documented limits, and how long a silence may last."""

from __future__ import annotations

from dataclasses import dataclass

from chandlery.errors import ConfigurationError
from chandlery.exchange.pacing import RateLimit

CONNECTS = RateLimit(requests=3, window_s=1.0)
"""Connections that one address may begin."""
REQUESTS = RateLimit(requests=480, window_s=3_600.0)
"""Requests to subscribe, to unsubscribe or to log in that one connection may send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """Documented limits, each used up to ``share``, and times in seconds.

    ``connects`` limits the connections that are begun, ``requests`` those sent on one connection, and
    ``largest_list`` the bytes of the list of channels of one connection. ``channels_per_connection`` is ours, because
    the exchange's own ceiling is not documented; ``channels_per_request`` is a matter of taste.

    After ``ping_after_s`` without a message it asks whether the exchange is there, and gives the connection up if
    nothing comes within ``pong_within_s``. A request to subscribe must be answered within ``answer_within_s``.
    ``largest_message`` is in bytes; ``most_waiting`` is how many events may wait for the reader. Raises
    ConfigurationError for what cannot be.
    """

    share: float = 0.9
    connects: RateLimit = CONNECTS
    requests: RateLimit = REQUESTS
    largest_list: int = 64 * 1024
    channels_per_connection: int = 200
    channels_per_request: int = 50
    ping_after_s: float = 20.0
    pong_within_s: float = 8.0
    answer_within_s: float = 10.0
    largest_message: int = 2**20
    most_waiting: int = 10_000

    def __post_init__(self) -> None:
        for name in ("largest_list", "channels_per_connection", "channels_per_request", "most_waiting"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not 0 < self.share <= 1:
            raise ConfigurationError(f"share must be above 0 and at most 1, not {self.share}.")
