"""Faults of the candle stream on demand: which there are, and which push or request meets one.

A fault is armed by hand, for the next so many occasions of its kind, or comes from a seeded plan. An occasion is a
request to subscribe, a channel in such a request, a closing push, or any push.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from chandlery.domain.timeframe import UtcMs
from chandlery.errors import ConfigurationError
from chandlery.simulator.noise import key_of, uniform
from chandlery.simulator.topics import Channel


class StreamFaultKind(StrEnum):
    """Everything that can go wrong with a stream."""

    ILLEGAL_REQUEST = "illegal_request"
    """A request to subscribe is answered with error 60012, and subscribes nothing."""
    REFUSED = "refused"
    """One channel of a request is answered with error 60018."""
    MISSING_CONFIRM = "missing_confirm"
    """A closing push never comes."""
    LATE_CONFIRM = "late_confirm"
    """A closing push comes late."""
    DOUBLED_CONFIRM = "doubled_confirm"
    """A closing push comes twice."""
    GARBAGE = "garbage"
    """A push is no JSON at all."""
    TRUNCATED = "truncated"
    """A push is the first half of one."""
    SILENCE = "silence"
    """The connections that should have had a push hear nothing any more, not even a pong, and stay open."""
    DROP = "drop"
    """The connections that should have had a push are cut."""
    NOTICE = "notice"
    """The connections that should have had a push get notice 64008 instead, and are closed a little later."""


AT_REQUEST = frozenset({StreamFaultKind.ILLEGAL_REQUEST})
AT_CHANNEL = frozenset({StreamFaultKind.REFUSED})
AT_CONFIRM = frozenset({StreamFaultKind.MISSING_CONFIRM, StreamFaultKind.LATE_CONFIRM, StreamFaultKind.DOUBLED_CONFIRM})
AT_PUSH = frozenset(StreamFaultKind) - AT_REQUEST - AT_CHANNEL - AT_CONFIRM


@dataclass(slots=True, kw_only=True)
class ArmedStreamFault:
    """A fault that waits for the next ``count`` occasions of ``channel`` and ``inst_id``; empty text matches all.

    ``duration_s`` is how late a confirm is, by default 1 s; how long a silence lasts, by default for ever; and how long
    after the notice the connection is closed, by default 1 s. Raises ConfigurationError for a count below one.
    """

    kind: StreamFaultKind
    count: int = 1
    channel: str = ""
    inst_id: str = ""
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigurationError(f"A fault must be armed for at least one occasion, not {self.count}.")

    def meets(self, kinds: frozenset[StreamFaultKind], channel: Channel | None) -> bool:
        """Whether this is an occasion that the fault waits for; None is a request with whatever channels."""
        if self.kind not in kinds:
            return False
        return channel is None or (self.channel in ("", channel.name) and self.inst_id in ("", channel.inst_id))


class StreamFaultPlan:
    """Faults of closing pushes at random: of each kind of AT_CONFIRM a share, such as 0.01.

    Which confirms they are is a function of seed, channel and open time, whoever listens and however fast the clock
    runs. Raises ConfigurationError for other kinds and for shares that are none.
    """

    def __init__(self, seed: int, shares: Mapping[StreamFaultKind, float]) -> None:
        if not shares.keys() <= AT_CONFIRM:
            raise ConfigurationError(f"A plan knows these faults of a stream: {', '.join(sorted(AT_CONFIRM))}.")
        if not (all(share >= 0 for share in shares.values()) and sum(shares.values()) <= 1):
            raise ConfigurationError("The shares of faults must lie between 0 and 1, and so must their sum.")
        self._seed, self._shares = seed, dict(sorted(shares.items()))

    def at_confirm(self, channel: Channel, open_time: UtcMs) -> StreamFaultKind | None:
        """The fault of one closing push, or None."""
        key = key_of(self._seed, *channel)
        drawn = float(uniform(key, np.array([open_time]))[0])
        for kind, share in self._shares.items():
            if drawn < share:
                return kind
            drawn -= share
        return None


class StreamFaults:
    """The faults in waiting: those armed by hand come first, then the plan's. Safe to use from any thread."""

    def __init__(self, plan: StreamFaultPlan | None = None) -> None:
        self._plan = plan
        self._armed: list[ArmedStreamFault] = []
        self._lock = threading.Lock()

    def arm(self, fault: ArmedStreamFault) -> None:
        """Add a fault behind those already waiting."""
        with self._lock:
            self._armed.append(fault)

    def clear(self) -> None:
        """Disarm all faults armed by hand."""
        with self._lock:
            self._armed.clear()

    def waiting(self) -> int:
        """How many occasions are still to meet an armed fault."""
        with self._lock:
            return sum(fault.count for fault in self._armed)

    def next(self, kinds: frozenset[StreamFaultKind], channel: Channel | None = None) -> ArmedStreamFault | None:
        """The armed fault that an occasion meets, or None."""
        if not self._armed:
            return None
        with self._lock:
            met = next((fault for fault in self._armed if fault.meets(kinds, channel)), None)
            if met is not None:
                met.count -= 1
                self._armed = [fault for fault in self._armed if fault.count]
            return met

    def at_confirm(self, channel: Channel, open_time: UtcMs) -> ArmedStreamFault | None:
        """The fault of one closing push, or None."""
        armed = self.next(AT_CONFIRM, channel)
        if armed is not None or self._plan is None:
            return armed
        kind = self._plan.at_confirm(channel, open_time)
        return None if kind is None else ArmedStreamFault(kind=kind)
