"""The named queries: each name stands once, and each query is used."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources
from pathlib import Path

import chandlery

SOURCE = Path(chandlery.__file__).parent
FILES = [file for file in resources.files("chandlery.storage.sql").iterdir() if file.name.endswith(".sql")]
NAMES = [name for file in FILES for name in re.findall(r"^-- name: (\w+)$", file.read_text(), flags=re.MULTILINE)]


def test_every_name_stands_once() -> None:
    """The second of two queries of one name would silently take the place of the first."""
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []


def test_every_query_is_used() -> None:
    program = "\n".join(file.read_text() for file in SOURCE.rglob("*.py"))
    assert [name for name in NAMES if f'"{name}"' not in program] == []
