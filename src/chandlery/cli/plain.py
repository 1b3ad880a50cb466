"""What ``--json`` calls things and how it writes times: the same in every command, as docs/commands.md promises.

Times are text, ISO 8601 in UTC with a ``Z``. ``start`` and ``end`` are a half-open span, ``first`` and ``last`` the
open times of candles, and ``at``, or what ends in ``_at``, is a moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chandlery.domain.candle import CandleBatch
    from chandlery.domain.instrument import Series
    from chandlery.domain.span import Span
    from chandlery.domain.timeframe import UtcMs

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plain_time(time: UtcMs | None) -> str | None:
    """A time as ``2024-01-31T12:00:00Z``; with milliseconds only where there are any."""
    if time is None:
        return None
    whole = "milliseconds" if time % 1_000 else "seconds"
    return (_EPOCH + timedelta(milliseconds=time)).replace(tzinfo=None).isoformat(timespec=whole) + "Z"


def plain_span(span: Span | None) -> dict[str, str | None]:
    """The half-open span from ``start`` to ``end``, both None for no span."""
    return {"start": plain_time(span.start if span else None), "end": plain_time(span.end if span else None)}


def plain_spans(spans: Iterable[Span]) -> list[dict[str, str | None]]:
    """A list of spans."""
    return [plain_span(span) for span in spans]


def plain_series(series: Series) -> dict[str, str]:
    """What names a series."""
    return {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.name}


def plain_candles(batch: CandleBatch) -> dict[str, list[Any]]:
    """Candles as columns, oldest first; a turnover that nobody told is None, for JSON has no NaN."""
    import numpy as np

    columns = {name: column.tolist() for name, column in batch.columns().items()}
    opened = (batch.open_time // 1_000).astype("datetime64[s]")  # bars open at whole minutes
    columns["open_time"] = np.datetime_as_string(opened, unit="s", timezone="UTC").tolist()
    columns["quote_volume"] = [None if value != value else value for value in columns["quote_volume"]]
    return columns
