"""What a setting may be: types that read text and JSON alike, and say in a sentence what they want instead.

Each is a type for a field of ``chandlery.setting_sections``; a list, a time or a term may come as text from the
environment or the command line, and as JSON from the file.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from chandlery.domain.instrument import canonical_symbol
from chandlery.domain.timeframe import timeframe
from chandlery.domain.written_time import EXAMPLES, WrittenTime, written_time

FIRST_YEAR, LAST_YEAR = 2009, 2100
"""No exchange traded before the one; times from the other on are mistakes."""

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_AGE = re.compile(r"(?P<number>\d{1,5})(?P<unit>[dw])", re.ASCII)
_PAUSE = re.compile(r"(?P<number>\d{1,6}(\.\d{1,6})?)(?P<unit>[smhd])?", re.ASCII)


def _not_a_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("it should be a number")
    return value


def _as_list(value: object) -> object:
    """Text from the environment or the command line: ``a,b``."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _as_first_time(value: object) -> date | datetime | None:
    """A date stays one, and a month is its first; a date and time without a zone is UTC."""
    return _as_time(value, lambda named: named.start.date() if _is_plain_date(named) else _moment(named))


def _as_last_time(value: object) -> date | datetime | None:
    """The same, but a month is its last date; a day of another zone, which is no date, is the moment it ends."""

    def end(named: WrittenTime) -> date | datetime:
        if _is_plain_date(named):
            return (named.end - timedelta(days=1)).date()
        return named.end if named.whole_days else _moment(named)

    return _as_time(value, end)


def _as_time(value: object, read: Callable[[WrittenTime], date | datetime]) -> date | datetime | None:
    if value is None:
        return None
    moment = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError, OverflowError):
            moment = read(written_time(value))
    if not isinstance(moment, date) or not FIRST_YEAR <= moment.year < LAST_YEAR:
        raise ValueError(f"it should be a time such as {EXAMPLES}")
    if not isinstance(moment, datetime):
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _is_plain_date(named: WrittenTime) -> bool:
    return named.whole_days and not named.zoned


def _moment(named: WrittenTime) -> datetime:
    return named.start + timedelta(microseconds=(named.fraction_ns or 0) // 1_000)


def _is_web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("it should be an address such as https://openapi.okx.com")
    return value.rstrip("/")


def _for_the_textfile_collector(value: Path) -> Path:
    if value.suffix != ".prom":
        raise ValueError("it should be a file that ends in .prom, for others are not looked at")
    return value


def _as_pause(value: object) -> float | None:
    """Seconds as a number, or text with a unit; 0 is none."""
    if value is None:
        return None
    found = _PAUSE.fullmatch(str(value))
    seconds = float(found["number"]) * _UNITS_S[found["unit"] or "s"] if found else -1
    if seconds and not 1 <= seconds <= _UNITS_S["d"]:
        raise ValueError("it should be a time such as 60s, 5m or 1h, from one second to one day")
    return seconds or None


def _as_terms(value: object) -> object:
    """An object such as ``{"1m": "90d"}``, or text such as ``1m=90d,1h=52w``."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {name.strip(): days.strip() for name, _, days in pairs}
    if not isinstance(value, dict):
        raise ValueError('it should be like {"1m": "90d", "1h": "52w"}')
    return {_is_timeframe(name): _as_days(days) for name, days in value.items()}


def _as_days(value: object) -> int:
    found = _AGE.fullmatch(str(value))
    if found is None or not int(found["number"]):
        raise ValueError("it should be a number of days or weeks, such as 90d or 52w")
    return int(found["number"]) * (7 if found["unit"] == "w" else 1)


def _is_timeframe(value: object) -> str:
    return timeframe(str(value)).name


WebAddress = Annotated[str, AfterValidator(_is_web_address)]
Count = Annotated[int, BeforeValidator(_not_a_switch), Field(ge=1)]
CountFromZero = Annotated[int, BeforeValidator(_not_a_switch), Field(ge=0)]
Share = Annotated[float, BeforeValidator(_not_a_switch), Field(gt=0, le=1)]
Seconds = Annotated[float, BeforeValidator(_not_a_switch), Field(gt=0, allow_inf_nan=False)]
Symbol = Annotated[str, PlainValidator(canonical_symbol)]
Interval = Annotated[str, PlainValidator(_is_timeframe)]
OptionalInterval = Annotated[str | None, PlainValidator(lambda value: None if value is None else _is_timeframe(value))]
Terms = Annotated[dict[str, int], PlainValidator(_as_terms)]
Pause = Annotated[float | None, PlainValidator(_as_pause)]
Listed = BeforeValidator(_as_list)
FirstTime = Annotated[datetime | date | None, PlainValidator(_as_first_time)]
LastTime = Annotated[datetime | date | None, PlainValidator(_as_last_time)]
Folder = Annotated[Path, BeforeValidator(lambda value: Path(value).expanduser() if isinstance(value, str) else value)]
PromFile = Annotated[Folder, AfterValidator(_for_the_textfile_collector)]
