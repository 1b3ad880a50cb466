"""Reading a column of times into UTC milliseconds.

A time without a zone is UTC. A whole number is milliseconds, and a column that can only be seconds or nanoseconds is
refused rather than guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chandlery.domain.candle import BoolArray
from chandlery.domain.rules import EARLIEST_MS
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import DataValidationError
from chandlery.storage.intake.columns import PlainColumn, Readings

LATEST_MS: UtcMs = 4_102_444_800_000
"""2100-01-01 UTC: a later time is a wrong unit, not a candle."""

NO_TIME_READ: UtcMs = -1
"""Stands where a time could not be read; such rows are among the faults."""

_OTHER_UNITS = {"seconds": 1e3, "microseconds": 1e-3, "nanoseconds": 1e-6}
_ISO = r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}([T ][0-9:.,]+ ?(Z|[+-][0-9:]+)?)?$"
_WHOLE = r"^[+-]?[0-9]{9,20}$"
_MISSING_KINDS = {type(None), type(pd.NaT), type(pd.NA)}
HINT = "Pass datetimes, ISO text such as 2024-01-31T12:00:00Z, or whole milliseconds since 1970 UTC."


def read_times(column: PlainColumn, name: str) -> Readings:
    """The instants of a column as int64 UTC milliseconds.

    Faults of single rows: ``no time``, ``unreadable time``, ``time out of range`` (before 2009 or after 2099) and
    ``misaligned time`` (finer than a millisecond). Raises DataValidationError for a column of mixed types, booleans,
    fractions, or whole numbers that look like another unit.
    """
    if isinstance(column, np.ndarray):
        return _from_array(column, name)
    kinds = set(map(type, column)) - _MISSING_KINDS
    if kinds and all(issubclass(kind, str) for kind in kinds):
        return _from_text(column, name)
    if all(issubclass(kind, (int, np.integer, float, np.floating)) and kind is not bool for kind in kinds):
        return _from_array(_numbers(column), name)
    if all(issubclass(kind, (date, np.datetime64)) for kind in kinds):
        return _from_instants(column, name)
    raise DataValidationError(
        f"the column {name} mixes or holds {', '.join(sorted(kind.__name__ for kind in kinds))}.", hint=HINT
    )


def _numbers(column: Sequence[Any]) -> npt.NDArray[Any]:
    try:
        return np.fromiter(column, np.int64, len(column)) if set(map(type, column)) == {int} else _floats(column)
    except OverflowError:
        return _floats(column)


def _floats(column: Sequence[object]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if type(value) in _MISSING_KINDS else value for value in column], dtype=np.float64)


def _from_array(column: npt.NDArray[Any], name: str) -> Readings:
    if column.dtype.kind == "M":
        return _from_datetime64(column)
    if column.dtype.kind in "iu":
        column = np.minimum(column, np.iinfo(np.int64).max).astype(np.int64, copy=False)
        return _from_milliseconds(column, np.zeros(len(column), dtype=np.bool_), name)
    if column.dtype.kind == "f":
        missing = np.isnan(column)
        if np.any((np.trunc(column) != column) & ~missing):
            raise DataValidationError(f"the column {name} holds fractions.", hint=HINT)
        return _from_milliseconds(np.where(missing, NO_TIME_READ, column), missing, name)
    raise DataValidationError(f"the column {name} holds {column.dtype}.", hint=HINT)


def _from_milliseconds(column: npt.NDArray[Any], missing: BoolArray, name: str) -> Readings:
    plausible = (column >= EARLIEST_MS) & (column < LATEST_MS)
    if not plausible.any():
        refuse_other_unit(column[~missing], f"the column {name}")
    times = column if plausible.all() else np.where(plausible, column, NO_TIME_READ)
    faults = [("no time", missing), ("time out of range", ~plausible & ~missing)]
    return Readings(values=times.astype(np.int64, copy=False), faults=_occurring(faults))


def refuse_other_unit(numbers: npt.NDArray[Any], what: str) -> None:
    """Raise DataValidationError if one of ``numbers``, no plausible milliseconds, could be of another unit."""
    for unit, factor in _OTHER_UNITS.items():
        as_ms = numbers.astype(np.float64) * factor
        if np.any((as_ms >= EARLIEST_MS) & (as_ms < LATEST_MS)):
            raise DataValidationError(f"{what} looks like {unit}.", hint="Pass milliseconds or datetimes.")


def _from_datetime64(column: npt.NDArray[Any], unreadable: BoolArray | None = None) -> Readings:
    """``unreadable`` masks the rows that are NaT because their text says no time."""
    missing = np.isnat(column)
    whole = column.astype("M8[ms]")
    misaligned = (whole != column) & ~missing
    times = whole.astype(np.int64)
    plausible = (times >= EARLIEST_MS) & (times < LATEST_MS)
    faults = [("misaligned time", misaligned & plausible), ("time out of range", ~plausible & ~missing)]
    if unreadable is not None:
        faults.append(("unreadable time", unreadable))
        missing = missing & ~unreadable
    faults.append(("no time", missing))
    times = times if plausible.all() else np.where(plausible, times, NO_TIME_READ)
    return Readings(values=times, faults=_occurring(faults))


def _from_instants(column: Sequence[object], name: str) -> Readings:
    given = [value for value in column if type(value) not in _MISSING_KINDS]
    if len({getattr(value, "tzinfo", None) is None for value in given}) > 1:
        raise DataValidationError(f"the column {name} mixes times with and without a zone.", hint=HINT)
    objects: Any = list(column)
    read = pd.to_datetime(objects, utc=True, errors="coerce").tz_convert(None).to_numpy()
    if not np.isnat(read).any():
        return _from_datetime64(read)
    return _from_datetime64(read, np.isnat(read) & np.array([type(value) not in _MISSING_KINDS for value in column]))


def _from_text(column: Sequence[object], name: str) -> Readings:
    text = _arrow_text(column)
    told = pc.fill_null(pc.not_equal(text, ""), False)
    whole = pc.fill_null(pc.match_substring_regex(text, _WHOLE), False)
    if pc.any(whole).as_py():
        if pc.any(pc.and_not(told, whole)).as_py():
            raise DataValidationError(f"the column {name} mixes whole numbers with other text.", hint=HINT)
        return _from_array(_floats([int(value) if value else None for value in text.to_pylist()]), name)
    readable = pc.fill_null(pc.match_substring_regex(text, _ISO), False)
    iso = pc.if_else(readable, text, None).to_pylist()
    read = pd.to_datetime(iso, format="ISO8601", utc=True, errors="coerce").tz_convert(None).to_numpy()
    return _from_datetime64(read, told.to_numpy(zero_copy_only=False) & np.isnat(read))


def _arrow_text(column: Sequence[object]) -> Any:
    try:
        return pa.array(column, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair; no such text is a time
        return pa.array([value if str(value).isascii() else "?" for value in column], pa.string())


def _occurring(faults: list[tuple[str, BoolArray]]) -> list[tuple[str, BoolArray]]:
    return [(reason, rows) for reason, rows in faults if rows.any()]
