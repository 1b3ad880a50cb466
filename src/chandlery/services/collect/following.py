"""Collecting again and again: a round a little after each interval of the clock, until somebody stops it.

A round is an ordinary collection, so whatever a failed one left out is what the next one wants. Nothing that can pass
by itself ends it: neither an exchange nor a database that is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from chandlery.domain.timeframe import UtcMs
from chandlery.errors import ChandleryError, DataNotFoundError
from chandlery.services.collect.collector import Collector
from chandlery.services.collect.run import SeriesReport, Wanted
from chandlery.storage.writer import SaveResult

_LAG_S = 1.0
"""After the turn of the interval, so that the exchange has the bars that close with it."""

OneRound = Callable[[], contextlib.AbstractContextManager[Collector]]
"""Makes the collector of one round, and clears up after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How one round came out: a report a series, or the error for which there are none. ``began`` is UTC ms."""

    number: int
    began: UtcMs
    reports: Sequence[SeriesReport] = field(default_factory=list)
    error: ChandleryError | None = None

    @property
    def result(self) -> SaveResult:
        """What the round stored."""
        return sum((report.result for report in self.reports), start=SaveResult())

    @property
    def went_well(self) -> bool:
        """Whether nothing failed. That an instrument is not listed any more is told, and is no failure: it stays so."""
        errors = [report.error for report in self.reports if not isinstance(report.error, DataNotFoundError)]
        return self.error is None and not any(errors)

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong, a sentence each."""
        own = [str(self.error)] if self.error else []
        return (*own, *(f"{report.series}: {report.error}" for report in self.reports if report.error))


class Follower:
    """Collects in rounds. ``tell`` is called after each."""

    def __init__(
        self,
        one_round: OneRound,
        every_s: float,
        tell: Callable[[Round], None],
        *,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        """A round begins every ``every_s``, counted from midnight UTC. ``clock`` gives seconds since 1970."""
        self._one_round = one_round
        self._every_s = every_s
        self._tell = tell
        self._clock = clock
        self._wait = wait or self._wait_or_stop
        # always the same for one follower: many of them do not all ask at the same moment
        self._lag_s = min(_LAG_S, every_s / 10) * random.uniform(1, 2)  # noqa: S311
        self._stopping = asyncio.Event()
        self._collector: Collector | None = None
        self._went_well = False

    def stop(self) -> None:
        """Begin no further page and no further round."""
        self._stopping.set()
        if self._collector is not None:
            self._collector.stop()

    async def run(self, wanted: Wanted) -> None:
        """Collect until stopped. Raises what cannot pass by itself, such as a symbol that does not exist.

        Once a round went well, everything is waited out: what was right then is not wrong for ever.
        """
        number = 0
        while not self._stopping.is_set():
            number += 1
            self._tell(await self._round(number, wanted))
            await self._wait(pause_s(self._clock(), self._every_s, self._lag_s))

    async def _round(self, number: int, wanted: Wanted) -> Round:
        began = int(self._clock() * 1000)
        try:
            with self._one_round() as self._collector:
                reports = await self._collector.run(wanted)
        except ChandleryError as error:
            if not (error.transient or self._went_well):
                raise
            return Round(number=number, began=began, error=error)
        self._went_well = True
        return Round(number=number, began=began, reports=reports)

    async def _wait_or_stop(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def pause_s(now_s: float, every_s: float, lag_s: float) -> float:
    """How long to wait at ``now_s`` for the next moment that is ``lag_s`` after the turn of an interval."""
    return (lag_s - now_s) % every_s or every_s
