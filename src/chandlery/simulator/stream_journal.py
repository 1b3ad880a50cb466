"""Who listened to the candle stream, to what, and which closing pushes were spoilt: the evidence for tests."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field

from chandlery.domain.timeframe import UtcMs
from chandlery.simulator.stream_faults import StreamFaultKind
from chandlery.simulator.topics import Channel

_REMEMBERED_CONNECTIONS = 10_000
_REMEMBERED_CONFIRMS = 100_000
_NEVER_SENT = frozenset({StreamFaultKind.MISSING_CONFIRM, StreamFaultKind.GARBAGE, StreamFaultKind.TRUNCATED})


@dataclass(slots=True, kw_only=True)
class Connection:
    """One connection; ``closed_at`` is None while it is open. Times are simulated, UTC milliseconds.

    ``channels`` are those that were ever subscribed on it, ``requests`` counts the requests to (un)subscribe, ``pings``
    the text pings, ``confirms`` the closing pushes that were sent on it. ``code`` is why it was closed: the close code,
    or None where it was cut.
    """

    conn_id: str
    opened_at: UtcMs
    closed_at: UtcMs | None = None
    code: int | None = None
    channels: list[Channel] = field(default_factory=list)
    requests: int = 0
    pings: int = 0
    confirms: int = 0


@dataclass(frozen=True, slots=True)
class SpoiltConfirm:
    """A closing push that met a fault."""

    channel: str
    inst_id: str
    open_time: UtcMs
    fault: StreamFaultKind


class StreamJournal:
    """The last connections and the last spoilt confirms, and how many closing pushes there were in all."""

    def __init__(self) -> None:
        self.connections: deque[Connection] = deque(maxlen=_REMEMBERED_CONNECTIONS)
        self.spoilt: deque[SpoiltConfirm] = deque(maxlen=_REMEMBERED_CONFIRMS)
        self.confirms = 0

    def withheld(self) -> list[SpoiltConfirm]:
        """The closing pushes that nobody could read: missing, or damaged."""
        return [confirm for confirm in list(self.spoilt) if confirm.fault in _NEVER_SENT]

    def summary(self) -> dict[str, object]:
        """Everything as plain values."""
        return {
            "confirms": self.confirms,
            "connections": [asdict(connection) for connection in list(self.connections)],
            "spoilt": [asdict(confirm) for confirm in list(self.spoilt)],
        }
