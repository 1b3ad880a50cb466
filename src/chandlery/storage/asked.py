"""What users ask a store for, as they say it: names, the first and the last day, columns of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from chandlery.domain.candle import FIELDS
from chandlery.domain.span import Span
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import DataValidationError

if TYPE_CHECKING:
    from datetime import date, datetime

    import pandas as pd

    Bound = str | int | date | datetime | pd.Timestamp

SERIES_FIELDS = ("symbol", "timeframe")
"""The first columns of a frame of several series."""

_FAR_FUTURE_MS = 4_102_444_800_000  # 2100-01-01 UTC


def listed(names: object, what: str) -> list[Any]:
    """One or several; what is no name at all is taken for one, which is then refused. Raises DataValidationError."""
    found = list(names) if isinstance(names, Iterable) and not isinstance(names, str | bytes) else [names]
    if not found:
        raise DataValidationError(f"no {what} was given.", hint=f"Name at least one {what}.")
    return found


def span_of(start_date: Bound | None, end_date: Bound | None) -> Span:
    """From the first instant of ``start_date`` to the last of ``end_date``. Raises DataValidationError."""
    start, end = bounds_of(start_date, end_date)
    return Span(start or 0, _FAR_FUTURE_MS if end is None else end)


def bounds_of(start_date: object, end_date: object) -> tuple[UtcMs | None, UtcMs | None]:
    """The same as two times, None where nothing was said. Raises DataValidationError."""
    start = None if start_date is None else _parsed(start_date, "start")
    end = None if end_date is None else _parsed(end_date, "end") + 1
    if (start or 0) >= (_FAR_FUTURE_MS if end is None else end):
        raise DataValidationError(
            f"the start {start_date!r} is later than the end {end_date!r}.", hint="Swap them, or leave one out."
        )
    return start, end


def fields_of(columns: Sequence[str] | None, *, many: bool) -> list[str]:
    """The columns of a frame of one series or of ``many``, all of them if None. Raises DataValidationError."""
    possible = [*(SERIES_FIELDS if many else ()), *FIELDS]
    if columns is None:
        return possible
    fields = list(dict.fromkeys(listed(columns, "column")))
    unknown = [repr(field) for field in fields if field not in possible]
    if unknown:
        raise DataValidationError(
            f"a frame of candles has no column {', '.join(unknown)}.", hint=f"It has {', '.join(possible)}."
        )
    return fields


def _parsed(bound: object, side: Literal["start", "end"]) -> UtcMs:
    from chandlery.storage.intake.bounds import parse_bound

    return parse_bound(bound, side)
