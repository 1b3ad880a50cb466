"""One end of a query, as people write it: a time, a day, a month."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd

from chandlery.domain.rules import EARLIEST_MS
from chandlery.domain.timeframe import UtcMs
from chandlery.domain.written_time import EXAMPLES, written_time
from chandlery.errors import DataValidationError
from chandlery.storage.intake.times import LATEST_MS, refuse_other_unit

Side = Literal["start", "end"]

_HUGE = 10**20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HINT = f"Pass a datetime, a date, whole milliseconds, or text: {EXAMPLES}."


def parse_bound(value: object, side: Side) -> UtcMs:
    """One end of a query that includes both its ends, as UTC milliseconds.

    Takes a datetime, date, pandas Timestamp, numpy datetime64, whole milliseconds, or ISO text of any length. As in
    pandas' ``.loc``, a date or text means all of what it names: ``2024-01-31`` as the end is that day's last
    millisecond, ``2024-01`` that month's. Without a zone it is UTC. Raises DataValidationError.
    """
    try:
        return _bound(value, side)
    except DataValidationError:
        raise
    except (ValueError, OverflowError) as error:
        raise DataValidationError(f"{str(value)[:80]!r} is not a time.", hint=_HINT) from error


def _bound(value: object, side: Side) -> UtcMs:
    if isinstance(value, str):
        return _of_text(value, side)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return _of_milliseconds(int(value))
    if isinstance(value, date) and not isinstance(value, datetime):
        return _of_text(value.isoformat(), side)
    if isinstance(value, (datetime, np.datetime64)) and not pd.isna(value):
        return _of_instant(pd.Timestamp(value), side)
    raise ValueError("no kind of time")


def _of_milliseconds(value: int) -> UtcMs:
    if EARLIEST_MS <= value < LATEST_MS:
        return value
    if abs(value) > _HUGE:  # Python refuses to write out very long numbers
        raise DataValidationError("a number of so many digits is no time between 2009 and 2100.", hint=_HINT)
    refuse_other_unit(np.array([float(value)]), f"the number {value}")
    raise DataValidationError(f"{value} milliseconds is not between 2009 and 2100.", hint=_HINT)


def _of_instant(moment: pd.Timestamp, side: Side) -> UtcMs:
    utc = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
    microseconds = (utc.to_pydatetime(warn=False) - _EPOCH) // timedelta(microseconds=1)
    nanoseconds = microseconds * 1_000 + utc.nanosecond
    return nanoseconds // 1_000_000 if side == "end" else -(-nanoseconds // 1_000_000)


def _of_text(text: str, side: Side) -> UtcMs:
    named = written_time(text)
    if named.fraction_ns is not None:
        return _of_instant(pd.Timestamp(named.start) + pd.Timedelta(named.fraction_ns, "ns"), side)
    return _ms(named.start) if side == "start" else _ms(named.end) - 1


def _ms(moment: datetime) -> UtcMs:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
