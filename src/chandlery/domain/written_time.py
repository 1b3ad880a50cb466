"""A time as people write it, in settings, on the command line and in queries: a year, a month, a day or a moment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

EXAMPLES = "2024, 2024-01, 2024-01-31 or 2024-01-31T12:00:00Z"
"""Texts that are understood, for whoever wrote another."""

_TEXT = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)([T ](?P<hour>\d\d)(:(?P<minute>\d\d)(:(?P<second>\d\d)"
    r"(\.(?P<fraction>\d{1,9}))?)?)?)?)?)? ?(?P<zone>Z|[+-]\d\d(:?\d\d)?)?",
    re.ASCII,
)
_PERIODS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class WrittenTime:
    """What a text names, from ``start`` up to ``end``, UTC unless it says otherwise.

    ``fraction_ns`` are nanoseconds beyond the second of ``start``, None where the text has none; ``whole_days`` is
    whether it names a year, a month or a day, and ``zoned`` whether it names a zone.
    """

    start: datetime
    end: datetime
    fraction_ns: int | None
    whole_days: bool
    zoned: bool


def written_time(text: str) -> WrittenTime:
    """Raises ValueError or OverflowError for what is no time."""
    parts = _TEXT.fullmatch(text.strip())
    if parts is None:
        raise ValueError("no ISO text")
    opened = _opening(parts)
    return WrittenTime(
        start=opened,
        end=_following(parts, opened),
        fraction_ns=int(parts["fraction"].ljust(9, "0")) if parts["fraction"] else None,
        whole_days=parts["hour"] is None,
        zoned=parts["zone"] is not None,
    )


def _opening(parts: re.Match[str]) -> datetime:
    named = {name: int(parts[name]) for name in ("year", "month", "day", "hour", "minute", "second") if parts[name]}
    return datetime(**{"month": 1, "day": 1, **named}, tzinfo=_zone(parts["zone"]))


def _following(parts: re.Match[str], opened: datetime) -> datetime:
    """Where the named year, month, day, hour, minute or second ends."""
    for name, length in _PERIODS.items():
        if parts[name]:
            return opened + length
    if parts["month"]:
        return (opened + timedelta(days=32)).replace(day=1)
    return opened.replace(year=opened.year + 1)


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-offset if text[0] == "-" else offset)
