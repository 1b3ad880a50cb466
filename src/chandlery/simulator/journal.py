"""What was asked of the simulator and what became of it: the evidence for tests."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from chandlery.domain.timeframe import UtcMs

_REMEMBERED_REQUESTS = 100_000


@dataclass(slots=True, kw_only=True)
class Request:
    """One request and its answer, the answer still empty while it is under way.

    ``at`` is the simulated time, UTC milliseconds; ``after`` and ``before`` are the cursors as they were sent, ``file``
    is the name of a file of candles, ``rows`` the number of rows answered. ``status`` and ``code`` stay None for a
    request that was never answered. ``fault`` is the fault it met, if any.
    """

    at: UtcMs
    endpoint: str
    inst_id: str = ""
    bar: str = ""
    after: str = ""
    before: str = ""
    file: str = ""
    status: int | None = None
    code: str | None = None
    rows: int = 0
    fault: str | None = None

    @property
    def page(self) -> tuple[str, str, str, str, str]:
        """What makes two requests the same question."""
        return (self.endpoint, self.inst_id, self.bar, self.after, self.before)

    @property
    def served(self) -> bool:
        """Whether it succeeded and met no fault."""
        return self.code == "0" and self.fault is None


class Journal:
    """The requests since the start or the last ``clear``: all of them counted, the last 100,000 remembered."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque(maxlen=_REMEMBERED_REQUESTS)
        self._forgotten = 0

    def open(self, at: UtcMs, endpoint: str, parameters: Mapping[str, str], file: str = "") -> Request:
        """Remember a request; its answer is written into what is returned."""
        request = Request(
            at=at,
            endpoint=endpoint,
            inst_id=parameters.get("instId", ""),
            bar=parameters.get("bar", ""),
            after=parameters.get("after", ""),
            before=parameters.get("before", ""),
            file=file,
        )
        self._forgotten += len(self.requests) == self.requests.maxlen
        self.requests.append(request)
        return request

    def clear(self) -> None:
        """Forget all requests."""
        self.requests.clear()
        self._forgotten = 0

    def served_twice(self) -> list[tuple[str, str, str, str, str]]:
        """The pages of candles that somebody asked for again after they had been served."""
        pages = Counter(request.page for request in self.requests if request.served and request.bar)
        return [page for page, count in pages.items() if count > 1]

    def summary(self) -> dict[str, object]:
        """Counts, and every remembered request, as plain values."""
        requests = list(self.requests)
        return {
            "total": len(requests) + self._forgotten,
            "by_endpoint": Counter(request.endpoint for request in requests),
            "by_code": Counter(str(request.code) for request in requests),
            "by_fault": Counter(request.fault for request in requests if request.fault),
            "requests": [asdict(request) for request in requests],
        }
