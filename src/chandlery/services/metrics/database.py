"""What is stored, asked of the database when metrics are asked for, and kept for a while.

It has a connection and a thread of its own. So no scrape waits for a database that is away, none takes a connection
from those who work, and what is known stays known meanwhile: the lag goes on growing, which is what it does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, UtcMs
from chandlery.errors import DatabaseError
from chandlery.services.metrics import catalogue
from chandlery.services.metrics.freshness import Freshness, freshness
from chandlery.services.metrics.scrape import family, single
from chandlery.services.opening import okx_settings
from chandlery.storage.database import Database
from chandlery.storage.series_states import ChosenSeries, SeriesState, series_states
from chandlery.storage.sizes import Sizes, sizes

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from chandlery.settings import Settings

KEPT_S = 15.0
"""So long an answer is good enough."""
_WAIT_S = 1.0
"""The scrape that asks waits for an answer so long; a near database needs a hundredth of it."""
_SILENT_S = 5.0
"""A question that is open for longer means that the database is away."""


def chosen_series(settings: Settings) -> ChosenSeries:
    """The series that this process keeps up to date; without configured symbols every series."""
    wanted = settings.data_collection
    exchange = okx_settings(settings).exchange
    return ChosenSeries(exchange=exchange, symbols=wanted.symbols, timeframes=wanted.timeframes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """One answer of the database, and when it came, in seconds of the monotonic clock."""

    states: list[SeriesState]
    sizes: dict[Timeframe, Sizes]
    at_s: float


class DatabaseFigures(Collector):
    """Freshness of the chosen series, and sizes; the last known ones while the database is away."""

    def __init__(self, database: Database, chosen: ChosenSeries, now: Callable[[], UtcMs]) -> None:
        """``now`` gives UTC milliseconds."""
        options = replace(database.options, pool_size=1, max_overflow=0, patience_s=0.0)
        self._database = Database(database.conninfo, options)
        self._chosen = chosen
        self._now = now
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._asking: threading.Event | None = None
        self._asked_s = float("-inf")
        self._answered = self._closed = False

    def collect(self) -> Iterator[Family]:
        """All figures; it takes a second at most."""
        self._ask_if_old()
        yield single(catalogue.DATABASE_UP, self._is_up())
        known = self._known
        if known is not None:
            yield single(catalogue.DATABASE_AGE, time.monotonic() - known.at_s)
            yield from _of_series(freshness(known.states, self._now()))
            yield from _of_sizes(known.sizes)

    def close(self, *, look_again: bool) -> None:
        """Ask no more, but ``look_again`` a last time; gives the connection back."""
        if look_again:
            self._asked_s = float("-inf")
            self._ask_if_old()
        self._closed = True
        if self._asking is None:
            self._database.close()

    def _is_up(self) -> bool:
        silent = self._asking is not None and time.monotonic() - self._asked_s > _SILENT_S
        return self._answered and not silent

    def _ask_if_old(self) -> None:
        with self._lock:
            if self._closed or self._asking is not None or time.monotonic() - self._asked_s < KEPT_S:
                return
            answered = self._asking = threading.Event()
            self._asked_s = time.monotonic()
        threading.Thread(target=self._ask, args=[answered], name="chandlery-metrics", daemon=True).start()
        answered.wait(_WAIT_S)

    def _ask(self, answered: threading.Event) -> None:
        try:
            states = series_states(self._database, self._chosen)
            found = sizes(self._database, list(TIMEFRAMES.values()))
            self._known = _Known(states=states, sizes=found, at_s=time.monotonic())
            self._answered = True
        except DatabaseError:
            self._answered = False
        finally:
            self._asking = None
            answered.set()
            if self._closed:
                self._database.close()


def _of_series(fresh: dict[Timeframe, Freshness]) -> Iterator[Family]:
    found = {timeframe.name: one for timeframe, one in fresh.items()}
    yield family(catalogue.SERIES, [((name,), one.series) for name, one in found.items()])
    yield family(catalogue.LAG_SECONDS, [((name,), one.lag_s) for name, one in found.items()])
    yield family(catalogue.LAG_BARS, [((name,), one.lag_bars) for name, one in found.items()])
    yield family(catalogue.GAPS, [((name,), one.gaps) for name, one in found.items()])
    yield family(catalogue.COVERAGE, [((name,), one.coverage) for name, one in found.items()])
    worst = [((name, one.worst.exchange, one.worst.symbol), 1.0) for name, one in found.items()]
    yield family(catalogue.WORST, worst)


def _of_sizes(all_sizes: dict[Timeframe, Sizes]) -> Iterator[Family]:
    found = {bar: one for bar, one in all_sizes.items() if one.table or one.segments}
    yield family(catalogue.TABLE_BYTES, [((bar.name,), one.table) for bar, one in found.items()])
    yield family(catalogue.INDEX_BYTES, [((bar.name,), one.index) for bar, one in found.items()])
    yield family(catalogue.SEGMENT_BYTES, [((bar.name,), one.segment) for bar, one in found.items()])
    yield family(catalogue.SEGMENTS, [((bar.name,), one.segments) for bar, one in found.items()])
