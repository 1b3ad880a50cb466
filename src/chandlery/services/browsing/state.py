"""The state of collection: what the last runs did and how fast, and which series lag or failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import UtcMs
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.runs import RunEntry, RunLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """How far a series is behind: seconds since the last covered bar closed, and the same in bars."""

    series: Series
    lag_s: float
    bars: float
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The newest runs first; the series that are most bars behind first."""

    runs: Sequence[RunEntry]
    late: Sequence[Late]
    failed: int


def state_of_collection(
    storage: PostgreSQLStorage, entries: Sequence[LedgerEntry], *, now: UtcMs, runs: int = 8, series: int = 8
) -> State:
    """At most so many ``runs`` and ``series``; ``failed`` counts all series whose last attempt failed."""
    late = [_late(entry, now) for entry in entries if entry.spans or entry.last_error]
    late.sort(key=lambda one: (one.last_error is None, -one.bars))
    return State(
        runs=RunLog(storage.database).newest_of(runs),
        late=late[:series],
        failed=sum(1 for entry in entries if entry.last_error),
    )


def run_rate(run: RunEntry) -> float | None:
    """New candles a second of a run that ended."""
    if run.finished_at is None or run.finished_at <= run.started_at:
        return None
    return run.result.inserted * 1000 / (run.finished_at - run.started_at)


def _late(entry: LedgerEntry, now: UtcMs) -> Late:
    hull, timeframe = entry.spans.hull, entry.series.timeframe
    lag_ms = max(0, now - hull.end) if hull else 0
    step = timeframe.close_of(now) - timeframe.floor(now)
    return Late(
        series=entry.series,
        lag_s=lag_ms / 1000,
        bars=lag_ms / step,
        last_error=str(entry.last_error["message"]) if entry.last_error else None,
    )
