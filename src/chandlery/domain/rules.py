"""What makes a candle valid: rows as they came -> accepted candles + rejected rows with every broken rule named.

All rules look at whole columns. No rule repairs anything: a row is taken as it is or set aside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chandlery.domain.candle import (
    PRICE_COLUMNS,
    VALUE_COLUMNS,
    BoolArray,
    CandleBatch,
    CandleRows,
    RawText,
    Rejected,
    same_values,
)
from chandlery.domain.timeframe import UtcMs

EARLIEST_MS: UtcMs = 1_230_768_000_000
"""2009-01-01 UTC: no exchange traded before it. An earlier time is a wrong unit, not a candle."""

NO_TIME: UtcMs = np.iinfo(np.int64).min
"""Stands in ``open_time`` for a time that could not be read."""

CONFLICTING = "conflicting duplicate"
"""The reason of rows that contradict another row of their time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What became of a table of rows.

    ``repeated`` counts rows that said again exactly what another row of the table said; they are in neither of
    ``accepted`` and ``rejected``.
    """

    accepted: CandleBatch
    rejected: Rejected
    repeated: int


def judge(rows: CandleRows, *, now: UtcMs, raw: RawText) -> Verdict:
    """Apply every rule to ``rows``, which may be in any order.

    A candle must have closed by ``now``, UTC milliseconds. Rows with the same open time and different values are all
    rejected: nothing here can know which one is right.
    """
    if _plainly_good(rows, now):
        batch = CandleBatch.of(rows.series, rows.columns())
        return Verdict(accepted=batch, rejected=Rejected(series=rows.series), repeated=0)
    broken = dict(_broken_rules(rows, now))
    bad = np.logical_or.reduce(list(broken.values())) if len(rows) else np.zeros(0, dtype=np.bool_)
    good = np.flatnonzero(~bad)
    good = good[np.argsort(rows.open_time[good], kind="stable")]
    ordered = rows.take(good)
    conflicting, repeats = _duplicates(ordered)
    broken[CONFLICTING] = np.zeros(len(rows), dtype=np.bool_)
    broken[CONFLICTING][good[conflicting]] = True
    accepted = ordered.take(~(conflicting | repeats))
    return Verdict(
        accepted=CandleBatch.of(rows.series, accepted.columns()),
        rejected=_rejected(rows, broken, raw),
        repeated=int(repeats.sum()),
    )


def _plainly_good(rows: CandleRows, now: UtcMs) -> bool:
    """Whether the table as a whole keeps all rules and ascends: the common case, in a quarter of the time."""
    if not len(rows):
        return True
    timeframe = rows.series.timeframe
    first, last = int(rows.open_time[0]), int(rows.open_time[-1])
    return bool(
        first >= EARLIEST_MS
        and last <= now
        and timeframe.close_of(last) <= now
        and np.all(rows.open_time[1:] > rows.open_time[:-1])
        and np.array_equal(timeframe.floor(rows.open_time), rows.open_time)
        and np.all(rows.low > 0)
        and np.all(rows.low <= np.minimum(rows.open, rows.close))
        and np.all(rows.high >= np.maximum(rows.open, rows.close))
        and np.all(rows.high < np.inf)
        and np.all(rows.base_volume >= 0)
        and np.all(rows.base_volume < np.inf)
        and not np.any(rows.quote_volume < 0)
        and not np.any(np.isposinf(rows.quote_volume))
    )


def _broken_rules(rows: CandleRows, now: UtcMs) -> Iterator[tuple[str, BoolArray]]:
    """Name and mask of every rule that a row can break by itself."""
    yield from _broken_times(rows, now)
    yield from broken_values(rows)


def broken_values(rows: CandleRows) -> Iterator[tuple[str, BoolArray]]:
    """Name and mask of every rule that a row's prices and volumes can break, always in the same order."""
    for name in VALUE_COLUMNS:
        values = getattr(rows, name)
        if name != "quote_volume":  # there, NaN means that the source did not tell it
            yield f"{name} is not a number", np.isnan(values)
        yield f"{name} is infinite", np.isinf(values)
        if name in PRICE_COLUMNS:
            yield f"{name} is not above zero", values <= 0
        else:
            yield f"{name} is negative", values < 0
    yield "high is below low", rows.high < rows.low
    yield "high is below open or close", rows.high < np.maximum(rows.open, rows.close)
    yield "low is above open or close", rows.low > np.minimum(rows.open, rows.close)


def _broken_times(rows: CandleRows, now: UtcMs) -> Iterator[tuple[str, BoolArray]]:
    timeframe = rows.series.timeframe
    unreadable = rows.open_time == NO_TIME
    yield "no readable time", unreadable
    yield "time before 2009", (rows.open_time < EARLIEST_MS) & ~unreadable
    # bars of times far outside are not computed: they would overflow
    plausible = np.clip(rows.open_time, EARLIEST_MS, now)
    yield (
        f"time is not the open of a {timeframe} bar",
        (timeframe.floor(plausible) != plausible) & (plausible == rows.open_time),
    )
    yield "not closed yet", (rows.open_time > now) | (timeframe.close_of(plausible) > now)


def _duplicates(ordered: CandleRows) -> tuple[BoolArray, BoolArray]:
    """Masks over rows sorted by time: those at odds with another row of their time, and repeats of an equal one."""
    count = len(ordered)
    conflicting, repeats = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    same_time = np.flatnonzero(np.diff(ordered.open_time) == 0)
    if not len(same_time):
        return conflicting, repeats
    equal = same_values(ordered.take(same_time), ordered.take(same_time + 1))
    disputed = ordered.open_time[same_time[~equal]]
    conflicting = np.isin(ordered.open_time, disputed)
    repeats[same_time + 1] = True
    return conflicting, repeats & ~conflicting


def _rejected(rows: CandleRows, broken: dict[str, BoolArray], raw: RawText) -> Rejected:
    """The rejected rows in their order, each with the names of all the rules it broke."""
    bad = np.flatnonzero(np.logical_or.reduce(list(broken.values()))).tolist() if len(rows) else []
    times = rows.open_time[bad].tolist()
    return Rejected(
        series=rows.series,
        open_time=[None if time == NO_TIME else time for time in times],
        reason=["; ".join(rule for rule, mask in broken.items() if mask[row]) for row in bad],
        raw=[raw(row) for row in bad],
    )
