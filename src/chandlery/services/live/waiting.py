"""Confirmed candles that wait to be stored, joined by series: what came while one batch was stored is the next one."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from chandlery.domain.candle import COLUMNS, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import UtcMs
from chandlery.exchange.stream import Pushed

MOST_WAITING = 20_000
"""Candles kept while the store is away. Beyond that they are dropped: not covered, they are healed afterwards."""

MOST_TOGETHER = 500
"""Series stored in one transaction.

Each holds a lock until the commit, and a server has room for 64 locks a connection. At midnight UTC every timeframe of
every instrument closes, and the locks of thousands of series would fill that table. A market that closes its minute
fits into one or two.
"""


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting:
    """The candles of one series that wait; ``received_s`` is when each came."""

    series: Series
    pushes: list[Pushed] = field(default_factory=list)

    def rows(self) -> CandleRows:
        """All of them, in the order in which they came."""
        columns = {name: np.concatenate([getattr(push.rows, name) for push in self.pushes]) for name in COLUMNS}
        return CandleRows.of(self.series, columns)

    def raw(self, row: int) -> str:
        """The exchange's own text of one of ``rows``."""
        for push in self.pushes:
            if row < len(push.rows):
                return push.raw(row)
            row -= len(push.rows)
        raise IndexError(row)

    @property
    def last_close(self) -> UtcMs:
        """When the newest of them closes, UTC milliseconds."""
        return self.series.timeframe.close_of(max(int(push.rows.open_time.max()) for push in self.pushes))

    @property
    def received_s(self) -> list[float]:
        """When each push came, on the clock of the stream."""
        return [push.received_s for push in self.pushes]


class WaitingRoom:
    """Takes confirmed candles and hands them out many at once; never holds more than ``most`` candles."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._by_series: dict[Series, Waiting] = {}

    def __len__(self) -> int:
        return self._count

    def enter(self, pushed: Pushed) -> bool:
        """Let candles wait; false if there is no room for them."""
        if self._count + len(pushed.rows) > self._most:
            return False
        self._by_series.setdefault(pushed.series, Waiting(series=pushed.series)).pushes.append(pushed)
        self._count += len(pushed.rows)
        return True

    def leave(self, most: int = MOST_TOGETHER) -> list[Waiting]:
        """Those who have waited longest, of ``most`` series; the others stay."""
        leaving = [self._by_series.pop(series) for series in list(islice(self._by_series, most))]
        self._count -= sum(len(push.rows) for one in leaving for push in one.pushes)
        return leaving
