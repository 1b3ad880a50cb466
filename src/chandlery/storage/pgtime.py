"""Times and spans between our UTC milliseconds and PostgreSQL's types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from psycopg.types.multirange import TimestamptzMultirange
from psycopg.types.range import TimestamptzRange

from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs

PG_EPOCH_MS: UtcMs = 946_684_800_000
"""2000-01-01 UTC, from which PostgreSQL counts microseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_datetime(time: UtcMs) -> datetime:
    """The same instant, aware, in UTC."""
    return _EPOCH + timedelta(milliseconds=time)


def to_datetime_or_none(time: UtcMs | None) -> datetime | None:
    """The instant, or None where there is none or no calendar holds it, as with a rejected row's time."""
    try:
        return None if time is None else to_datetime(time)
    except OverflowError:
        return None


def to_ms(time: datetime) -> UtcMs:
    """The same instant in milliseconds, rounded down."""
    return (time - _EPOCH) // _MILLISECOND


def to_multirange(spans: Spans) -> TimestamptzMultirange:
    """A ``tstzmultirange`` of half-open ranges."""
    return TimestamptzMultirange(TimestamptzRange(to_datetime(s.start), to_datetime(s.end)) for s in spans)


def to_spans(multirange: TimestamptzMultirange) -> Spans:
    """The ledger's spans; PostgreSQL keeps them merged and half-open, as we do."""
    return Spans(Span(to_ms(r.lower), to_ms(r.upper)) for r in multirange if r.lower and r.upper)
