"""Times as foreign files write them: seconds, milliseconds, microseconds, nanoseconds or ISO text.

Which of them is found out from all the times of a file, before anything of it is stored: the five never look alike
for a time between 2009 and 2100. Where a file mixes them, it says so and asks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chandlery.domain.candle import BoolArray
from chandlery.domain.rules import EARLIEST_MS
from chandlery.domain.timeframe import IntArray
from chandlery.errors import DataValidationError
from chandlery.storage.intake.columns import Readings
from chandlery.storage.intake.times import LATEST_MS, NO_TIME_READ

Unit = Literal["s", "ms", "us", "ns", "iso"]

NAMES: dict[Unit, str] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "iso": "ISO text",
}
_TO_MS: dict[Unit, tuple[int, int]] = {"s": (1_000, 1), "ms": (1, 1), "us": (1, 1_000), "ns": (1, 1_000_000)}
"""Numbers of a unit are multiplied by the first and divided by the second."""

UTC = ZoneInfo("UTC")
_WHOLE = r"^[0-9]{9,19}(\.0*)?$"
_ISO = r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}([T ][0-9:.]+)? ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?$"
_ZONED = r"[T ][0-9:.]+ ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_NS = pa.timestamp("ns")
_NS_UTC = pa.timestamp("ns", "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How a file writes times: their ``unit``, and where ISO text without a zone was written."""

    unit: Unit
    zone: ZoneInfo = UTC


@dataclass(slots=True, kw_only=True)
class Census:
    """What the times of a file look like: how many of each unit, how many ISO texts without a zone, an odd one out."""

    units: Counter[Unit] = field(default_factory=Counter)
    without_zone: int = 0
    strange: str | None = None

    def count(self, text: pa.StringArray) -> IntArray | None:
        """Take a column of times into account; the times as numbers that compare, if all of them are of one kind."""
        numbers = _cast(text, pa.int64())
        if numbers is not None and self._count_numbers(_plain(numbers)):
            return _plain(numbers)
        for kind, zoned in ((_NS, False), (_NS_UTC, True)):
            instants = _cast(text, kind)
            if instants is not None:
                self._count_iso(len(text), 0 if zoned else len(text))
                return _plain(instants.cast(pa.int64()))
        self._count_mixed(text)
        return None

    def _count_mixed(self, text: pa.StringArray) -> None:
        whole = pc.fill_null(pc.match_substring_regex(text, _WHOLE), False)
        self._count_numbers(_whole_numbers(text.filter(whole)))
        iso = pc.fill_null(pc.match_substring_regex(text, _ISO), False)
        iso = pc.and_not(iso, whole)
        zoned = pc.fill_null(pc.match_substring_regex(text, _ZONED), False)
        self._count_iso(pc.sum(iso).as_py() or 0, pc.sum(pc.and_not(iso, zoned)).as_py() or 0)
        strange = text.filter(pc.and_not(pc.invert(iso), pc.fill_null(pc.equal(text, ""), True)))
        self.strange = self.strange or (strange[0].as_py() if len(strange) else None)

    def _count_numbers(self, numbers: IntArray) -> bool:
        """Count them by unit; whether any of them can be a time."""
        before = self.units.total()
        for unit, (factor, divisor) in _TO_MS.items():
            low, high = EARLIEST_MS // factor * divisor, LATEST_MS // factor * divisor
            self.units[unit] += int(((numbers >= low) & (numbers < high)).sum())
        return self.units.total() > before

    def _count_iso(self, count: int, without_zone: int) -> None:
        self.units["iso"] += count
        self.without_zone += without_zone

    def verdict(self, column: str) -> Unit:
        """The one unit that the times are in. Raises DataValidationError if there is none, or more than one."""
        found = [unit for unit, count in self.units.most_common() if count]
        if len(found) == 1:
            return found[0]
        if not found:
            example = "" if self.strange is None else f", for example {self.strange[:40]!r}"
            raise DataValidationError(
                f"the column {column} holds no times between 2009 and 2100{example}.",
                hint="Name the column of the open times: --columns time=NAME.",
            )
        counts = " and ".join(f"{self.units[unit]:,} times like {NAMES[unit]}" for unit in found)
        raise DataValidationError(
            f"the column {column} has {counts}.",
            hint=f"Say which are right, such as --time-unit {found[0]}; the others are then rejected.",
        )


def read_moments(text: pa.StringArray, clock: Clock) -> Readings:
    """A column of times as int64 UTC milliseconds, with the rows that have none, or a strange one, as faults."""
    told = pc.fill_null(pc.not_equal(text, ""), False).to_numpy(zero_copy_only=False)
    read = _from_iso(text, clock) if clock.unit == "iso" else _from_numbers(text, clock.unit)
    return _readings(read, told)


def moments_of(column: npt.NDArray[Any], clock: Clock) -> Readings:
    """The same for whole numbers of the clock's unit, or nanoseconds of ISO text, all of them told."""
    unit: Unit = "ns" if clock.unit == "iso" else clock.unit
    return _readings(_scaled(column, unit), np.ones(len(column), dtype=np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    times: IntArray
    readable: BoolArray
    misaligned: BoolArray


def _readings(read: _Read, told: BoolArray) -> Readings:
    plausible = read.readable & (read.times >= EARLIEST_MS) & (read.times < LATEST_MS)
    faults = [
        ("no time", ~told),
        ("unreadable time", told & ~read.readable),
        ("time out of range", read.readable & ~plausible),
        ("misaligned time", plausible & read.misaligned),
    ]
    times = read.times if plausible.all() else np.where(plausible, read.times, NO_TIME_READ)
    return Readings(values=times, faults=[(reason, rows) for reason, rows in faults if rows.any()])


def _scaled(numbers: IntArray, unit: Unit) -> _Read:
    """Milliseconds, where seconds of other centuries do not overflow."""
    factor, divisor = _TO_MS[unit]
    times = np.clip(numbers, -(2**52), 2**52) * factor if factor > 1 else numbers // divisor
    misaligned = numbers % divisor != 0 if divisor > 1 else np.zeros(len(numbers), dtype=np.bool_)
    return _Read(times, np.ones(len(numbers), dtype=np.bool_), misaligned)


def _from_numbers(text: pa.StringArray, unit: Unit) -> _Read:
    readable = pc.fill_null(pc.match_substring_regex(text, _WHOLE), False)
    mask = readable.to_numpy(zero_copy_only=False)
    numbers = np.zeros(len(text), dtype=np.int64)
    numbers[mask] = _whole_numbers(text.filter(readable))
    read = _scaled(numbers, unit)
    return _Read(read.times, mask, read.misaligned)


def _whole_numbers(text: pa.StringArray) -> IntArray:
    """``1704067200`` and ``1704067200.0``; what is beyond 64 bits comes as zero, which is no time of ours."""
    digits = pc.replace_substring_regex(text, r"\.0*$", "")
    fits = pc.or_(pc.less(pc.binary_length(digits), 19), pc.less_equal(digits, "9223372036854775807"))
    numbers: IntArray = pc.if_else(fits, digits, "0").cast(pa.int64()).to_numpy(zero_copy_only=False)
    return numbers


def _from_iso(text: pa.StringArray, clock: Clock) -> _Read:
    plain = pc.fill_null(pc.match_substring_regex(text, _ISO), False)
    zoned = pc.and_(plain, pc.fill_null(pc.match_substring_regex(text, _ZONED), False))
    whole = pc.fill_null(pc.match_substring_regex(text, _WHOLE), False)
    local = pc.and_not(pc.and_not(plain, zoned), whole)
    instants, naive = _parsed(text, zoned), _parsed(text, local)
    if clock.zone is not UTC:
        naive = naive.tz_localize(clock.zone, ambiguous="NaT", nonexistent="NaT").tz_convert(None).as_unit("us")
    read = np.where(zoned.to_numpy(zero_copy_only=False), instants.to_numpy(), naive.to_numpy())
    scaled = _scaled(read.view(np.int64), "us")
    return _Read(scaled.times, ~np.isnat(read), scaled.misaligned)


def _parsed(text: pa.StringArray, rows: pa.BooleanArray) -> pd.DatetimeIndex:
    """Some rows as naive UTC microseconds, NaT for the others: nanoseconds would not reach year 9999."""
    values = pc.if_else(rows, text, None).to_pylist()
    read = pd.DatetimeIndex(pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce"))
    return read.tz_convert(None).as_unit("us")


def _plain(numbers: pa.Int64Array) -> IntArray:
    plain: IntArray = numbers.to_numpy(zero_copy_only=False)
    return plain


def _cast(text: pa.StringArray, kind: pa.DataType) -> pa.Array | None:
    if text.null_count:
        return None
    try:
        text[:1].cast(kind)  # where the first is of another kind, trying all of them takes long
        return text.cast(kind)
    except pa.ArrowInvalid:
        return None
