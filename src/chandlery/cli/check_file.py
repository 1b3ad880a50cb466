"""One CSV file of whatever origin, given to ``chandlery check`` in the place of symbols."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chandlery.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chandlery.services.check import Report, Scope

_SUFFIXES = (".csv", ".csv.gz", ".csv.zst")


def file_among(given: Sequence[str]) -> Path | None:
    """The CSV file that is named among what was given, None if all are symbols.

    Raises ConfigurationError for a path that is there and cannot be checked: as a symbol it would only be unknown.
    """
    for name in given:
        if name.lower().endswith(_SUFFIXES) and not Path(name).is_dir():
            return Path(name)
        if Path(name).exists() and not _is_symbol(name):
            raise _no_csv(name)
    return None


def check_file(path: Path, scope: Scope, columns: str | None) -> Report:
    """Check a file; ``columns`` names its columns in order, where it has no header."""
    from chandlery.services.check.tables import check_table, file_shelf

    if len(scope.timeframes) != 1:
        raise ConfigurationError(
            "a file has one timeframe; say which, as in --timeframe 1m.", hint="Try: chandlery check --help"
        )
    names = [name.strip() for name in columns.split(",")] if columns else ()
    return check_table(file_shelf(path, scope.timeframes[0], names), scope)


def _is_symbol(name: str) -> bool:
    """Whether it is written as the exchange writes symbols; a folder may well be called like one."""
    from chandlery.domain.instrument import canonical_symbol
    from chandlery.errors import DataValidationError

    try:
        return canonical_symbol(name) == name and "." not in name
    except DataValidationError:
        return False


def _no_csv(name: str) -> ConfigurationError:
    if Path(name).is_dir():
        hint = f"Try: chandlery check --output csv --csv-folder {name}"
        return ConfigurationError(f"{name} is a folder, neither a symbol nor a CSV file.", hint=hint)
    read = f"chandlery import {name} --dry-run"
    zipped = name.lower().endswith(".zip")
    hint = f"Try: {read}" if zipped else f"Give it such a name if it holds CSV, or try: {read}"
    return ConfigurationError(f"{name} is no file that is checked: {', '.join(_SUFFIXES)}.", hint=hint)
