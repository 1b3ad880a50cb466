"""Faults on demand: which there are, and which request meets one.

A fault is armed by hand (the next so many requests of an endpoint get it) or comes from a seeded plan. What a fault
does to a page of candles is in ``pages``, what it does to the connection is in ``delivery``.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from chandlery.errors import ConfigurationError
from chandlery.simulator.endpoints import FILE_LISTING, FILES, PAGES, TIME


class FaultKind(StrEnum):
    """Everything that can go wrong with a request."""

    DROP = "drop"
    """The connection is closed without an answer."""
    RESET = "reset"
    """The connection is reset without an answer."""
    DELAY = "delay"
    """A true answer, late."""
    HANG = "hang"
    """No answer, and the connection stays open."""
    SLOW_BODY = "slow_body"
    """A true answer that trickles."""
    HTTP_500 = "http_500"
    """HTTP 500 with plain text."""
    HTML_502 = "html_502"
    """HTTP 502 with a web page."""
    UNAVAILABLE = "unavailable"
    """HTTP 503, code 50001."""
    BUSY = "busy"
    """HTTP 429, code 50013."""
    SYSTEM_ERROR = "system_error"
    """HTTP 500, code 50026."""
    RATE_LIMIT = "rate_limit"
    """Code 50011, although there were few requests."""
    TRUNCATED_JSON = "truncated_json"
    """The first half of a document, as if it were whole."""
    WRONG_ENCODING = "wrong_encoding"
    """A body that claims to be gzip and is not."""
    EMPTY_PAGE = "empty_page"
    """Success, and no candles."""
    SHORT_PAGE = "short_page"
    """The oldest rows of the page are missing."""
    HOLE = "hole"
    """Rows inside the page are missing."""
    STUCK_PAGE = "stuck_page"
    """The newest page, whatever the cursors say."""
    OVERLAPPING_PAGE = "overlapping_page"
    """Rows from outside the window are in the page."""
    UNORDERED = "unordered"
    """The rows are shuffled."""
    DUPLICATED_ROW = "duplicated_row"
    """One row comes twice."""
    NAN_ROW = "nan_row"
    """One row has NaN for its close."""
    CROSSED_ROW = "crossed_row"
    """One row has its high below its low."""
    REVISED_CANDLE = "revised_candle"
    """One confirmed candle has another close and volume than at other times."""
    WRONG_CLOCK = "wrong_clock"
    """The exchange's clock is an hour ahead."""
    FILE_MISSING = "file_missing"
    """HTTP 404 for a file that is listed."""
    TRUNCATED_ZIP = "truncated_zip"
    """The first half of a file, as if it were whole."""
    ZIP_BOMB = "zip_bomb"
    """A small file that unpacks to 64 MiB."""
    MANY_MEMBERS = "many_members"
    """A zip of thousands of members."""
    WRONG_HEADER = "wrong_header"
    """A file whose first line names other columns."""
    CORRUPT_ROW = "corrupt_row"
    """A file with a close that is no number, and a high below its low."""
    UNCONFIRMED_ROWS = "unconfirmed_rows"
    """The older two thirds of a file have ``confirm`` 0."""
    UNTOLD_VOLUMES = "untold_volumes"
    """A file with ``None`` for the volumes in currency."""
    REPEATED_ROW = "repeated_row"
    """A file with one row twice."""
    CONFLICTING_ROWS = "conflicting_rows"
    """A file with two candles of one minute that contradict each other."""
    BACKFILL = "backfill"
    """The newest file of a listing is being made again and has no link."""


PAGE_FAULTS = frozenset(
    {
        FaultKind.EMPTY_PAGE,
        FaultKind.SHORT_PAGE,
        FaultKind.HOLE,
        FaultKind.STUCK_PAGE,
        FaultKind.OVERLAPPING_PAGE,
        FaultKind.UNORDERED,
        FaultKind.DUPLICATED_ROW,
        FaultKind.NAN_ROW,
        FaultKind.CROSSED_ROW,
        FaultKind.REVISED_CANDLE,
    }
)
"""Faults in a page of candles; other endpoints do not meet them."""

FILE_FAULTS = frozenset(
    {
        FaultKind.FILE_MISSING,
        FaultKind.TRUNCATED_ZIP,
        FaultKind.ZIP_BOMB,
        FaultKind.MANY_MEMBERS,
        FaultKind.WRONG_HEADER,
        FaultKind.CORRUPT_ROW,
        FaultKind.UNCONFIRMED_ROWS,
        FaultKind.UNTOLD_VOLUMES,
        FaultKind.REPEATED_ROW,
        FaultKind.CONFLICTING_ROWS,
    }
)
"""Faults in a file of candles; nothing else meets them."""

PLAUSIBLE_LIES = frozenset(
    {FaultKind.EMPTY_PAGE, FaultKind.SHORT_PAGE, FaultKind.REVISED_CANDLE, FaultKind.WRONG_CLOCK}
)
"""Faults that one answer alone does not give away: it might be true."""

OBVIOUS_FAULTS = frozenset(FaultKind) - PLAUSIBLE_LIES - FILE_FAULTS - {FaultKind.BACKFILL}
"""Faults that a careful client sees in the one answer that has them; those of files are apart."""


def applies(kind: FaultKind, endpoint: str) -> bool:
    """Whether a request to ``endpoint`` can meet a fault of this kind."""
    if kind in PAGE_FAULTS:
        return endpoint in PAGES
    if kind in FILE_FAULTS:
        return endpoint == FILES
    if kind is FaultKind.BACKFILL:
        return endpoint == FILE_LISTING
    return endpoint == TIME if kind is FaultKind.WRONG_CLOCK else True


@dataclass(slots=True, kw_only=True)
class ArmedFault:
    """A fault that waits for the next ``count`` requests to ``endpoint`` for ``inst_id``; empty text matches all.

    ``duration_s`` is how long a delay, a hang or a slow body lasts, None for the kind's own.
    """

    kind: FaultKind
    count: int = 1
    endpoint: str = ""
    inst_id: str = ""
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigurationError(f"A fault must be armed for at least one request, not {self.count}.")

    def meets(self, endpoint: str, inst_id: str) -> bool:
        """Whether this request is one that the fault waits for."""
        return (
            self.count > 0
            and applies(self.kind, endpoint)
            and self.endpoint in ("", endpoint, endpoint.rpartition("/")[2])
            and self.inst_id in ("", inst_id)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that a request has met; ``seed`` decides its details, such as which row it spoils."""

    kind: FaultKind
    duration_s: float | None
    seed: int


class FaultPlan:
    """Faults at random: each request meets one with probability ``rate``, of any of ``kinds`` that applies to it.

    The same seed meets the same sequence of requests with the same faults. Without ``kinds`` they are the obvious
    ones, so that a careful client ends up with every candle right.
    """

    def __init__(self, seed: int, rate: float, kinds: Collection[FaultKind] = OBVIOUS_FAULTS) -> None:
        if not 0 <= rate <= 1:
            raise ConfigurationError(f"The rate of faults must lie between 0 and 1, not at {rate}.")
        self._rng = random.Random(seed)  # noqa: S311
        self._rate = rate
        self._kinds = sorted(kinds)

    def next(self, endpoint: str) -> Fault | None:
        """The fault of the next request, which goes to ``endpoint``, or None."""
        hit, pick, seed = self._rng.random() < self._rate, self._rng.random(), self._rng.getrandbits(32)
        kinds = [kind for kind in self._kinds if applies(kind, endpoint)]
        if not hit or not kinds:
            return None
        return Fault(kind=kinds[int(pick * len(kinds))], duration_s=None, seed=seed)


class Faults:
    """The faults in waiting: those armed by hand come first, then the plan's. Safe to use from any thread."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        self._plan = plan
        self._armed: list[ArmedFault] = []
        self._met = 0
        self._lock = threading.Lock()

    def arm(self, fault: ArmedFault) -> None:
        """Add a fault behind those already waiting."""
        with self._lock:
            self._armed.append(fault)

    def clear(self) -> None:
        """Disarm all faults armed by hand."""
        with self._lock:
            self._armed.clear()

    def waiting(self) -> int:
        """How many requests are still to meet an armed fault."""
        with self._lock:
            return sum(fault.count for fault in self._armed)

    def next(self, endpoint: str, inst_id: str) -> Fault | None:
        """The fault of a request, or None."""
        with self._lock:
            armed = next((fault for fault in self._armed if fault.meets(endpoint, inst_id)), None)
            if armed is None:
                return self._plan.next(endpoint) if self._plan else None
            armed.count -= 1
            self._armed = [fault for fault in self._armed if fault.count]
            self._met += 1
            return Fault(kind=armed.kind, duration_s=armed.duration_s, seed=self._met)
