"""The names that ``chandlery`` gives to its users; whoever changes them changes other people's programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import chandlery

NAMES = [
    "Announcement",
    "Candles",
    "ChandleryError",
    "ConfigurationError",
    "ConnectionError",
    "CsvStore",
    "DataNotFoundError",
    "DataValidationError",
    "DatabaseError",
    "ExchangeError",
    "HealthCheckError",
    "LiveCandle",
    "PostgreSQLStorage",
    "PostgresConfig",
    "SaveResult",
    "Settings",
    "StorageError",
    "chart",
    "check_frame",
    "listen",
    "live",
    "load_settings",
    "open_storage",
    "save_klines",
]
HEAVY = ("aiohttp", "alembic", "numpy", "pandas", "psycopg", "pyarrow", "pydantic", "rich", "sqlalchemy", "typer")


def test_the_exported_names_are_these_and_no_others() -> None:
    assert chandlery.__all__ == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_is_something_with_a_documentation(name: str) -> None:
    exported = getattr(chandlery, name)
    assert exported.__name__ == name
    assert exported.__doc__


def test_every_exported_name_is_listed_where_people_look() -> None:
    assert set(NAMES) <= set(dir(chandlery))


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = chandlery.no_such_thing


def test_importing_it_loads_nothing_heavy() -> None:
    program = f"import sys, chandlery; print([name for name in {HEAVY!r} if name in sys.modules])"
    source = Path(chandlery.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=source, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
