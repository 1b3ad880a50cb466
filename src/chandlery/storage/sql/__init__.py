"""Named queries, kept in ``.sql`` files that a DBA can read.

A query starts at a line ``-- name: what_it_does``; the comment lines below the name explain it.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import LiteralString

from psycopg import sql

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@functools.cache
def _queries() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in resources.files(__package__).iterdir():
        if file.name.endswith(".sql"):
            _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
            found |= zip(parts[::2], parts[1::2], strict=True)
    return found


def query(name: str, **identifiers: sql.Composable) -> sql.Composed:
    """The query called ``name``, with its ``{placeholders}`` replaced by composed identifiers or literals."""
    # a file of this package, never anything that a person typed
    text: LiteralString = _queries()[name]
    return sql.SQL(text).format(**identifiers)
