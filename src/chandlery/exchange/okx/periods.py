"""The days and months of the exchange's files: they begin at midnight in UTC+8, eight hours before UTC's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, TIMEFRAMES, Timeframe, UtcMs
from chandlery.exchange.source import FilePeriod

FIRST_FILE_MS: UtcMs = 1_688_140_800_000
"""2023-07-01 in UTC+8: the first day of which the exchange has files of candles."""
PUBLISHED_AFTER_MS = DAY_MS
"""How long after its period a file may be there at the earliest (the exchange says T+2)."""

_AHEAD_MS = 8 * HOUR_MS
_TIMEFRAMES: Mapping[FilePeriod, Timeframe] = MappingProxyType(
    {FilePeriod.MONTH: TIMEFRAMES["1M"], FilePeriod.DAY: TIMEFRAMES["1d"]}
)
_DATES = {FilePeriod.MONTH: "%Y-%m", FilePeriod.DAY: "%Y-%m-%d"}


def periods_of(period: FilePeriod, missing: Spans, now: UtcMs) -> list[Span]:
    """The periods that touch ``missing`` and of which there may be a file at ``now``, newest first."""
    ordinals = sorted(set(_ordinals(_TIMEFRAMES[period], missing)), reverse=True)
    spans = [_span(_TIMEFRAMES[period], ordinal) for ordinal in ordinals]
    return [span for span in spans if span.start >= FIRST_FILE_MS and span.end + PUBLISHED_AFTER_MS <= now]


def date_of(period: FilePeriod, span: Span) -> str:
    """The date in the name of a file: ``2024-01`` or ``2024-01-31``."""
    return datetime.fromtimestamp((span.start + _AHEAD_MS) / 1_000, UTC).strftime(_DATES[period])


def _ordinals(timeframe: Timeframe, missing: Spans) -> Iterator[int]:
    for span in missing & Spans([Span(FIRST_FILE_MS, 2**53)]):
        yield from range(timeframe.ordinal(span.start + _AHEAD_MS), timeframe.ordinal(span.end - 1 + _AHEAD_MS) + 1)


def _span(timeframe: Timeframe, ordinal: int) -> Span:
    return Span(timeframe.open_at(ordinal) - _AHEAD_MS, timeframe.open_at(ordinal + 1) - _AHEAD_MS)
