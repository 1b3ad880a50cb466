"""The times in what ``--json`` writes, as docs/commands.md promises them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_TIMES = {"start", "end", "first", "last", "at", "open_time"}
_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_REFUSED = re.compile(r"from|to|since|until|.*_ms|.*_time|time")
_EPOCH_MS = range(10**12, 10**13)


def utc(time_ms: int) -> str:
    """A time without milliseconds as ``--json`` writes it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_ms(text: str) -> int:
    """The UTC milliseconds of what ``--json`` wrote."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def assert_plain(value: Any, name: str = "") -> None:
    """Every time has one of the promised names and the promised form, at any depth; no number is milliseconds."""
    if isinstance(value, dict):
        for key, held in value.items():
            assert key in _TIMES or not _REFUSED.fullmatch(key), f"{key} is no promised name of a time"
            assert_plain(held, key)
    elif isinstance(value, list):
        for held in value:
            assert_plain(held, name)
    elif name in _TIMES or name.endswith("_at"):
        assert value is None or _FORM.fullmatch(value), f"{name} is {value!r}"
    else:
        assert not (isinstance(value, int) and value in _EPOCH_MS), f"{name} is {value}, which may be a time"
