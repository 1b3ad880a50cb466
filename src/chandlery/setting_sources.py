"""Where settings come from: a JSON file, the environment, the command line; each value with the place it stood.

This module knows names only. What values are permitted is the business of ``chandlery.setting_types``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from chandlery.errors import ConfigurationError

PREFIX = "CHANDLERY_"
CONFIG_VARIABLE = "CHANDLERY_CONFIG"
PROJECT_FILE = Path("config/workflow.json")
LARGEST_FILE = 1 << 20
"""Bytes; a complete configuration has about 2,000."""
_NOT_SETTINGS = (CONFIG_VARIABLE, "CHANDLERY_REAL_CANDLES")
_NOT_SETTINGS_PREFIX = "CHANDLERY_TEST_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value somebody gave, and ``place``: where, in words for a person."""

    value: object
    place: str


Layer = dict[str, Given]
"""Given values by dotted name, such as ``data.output``."""


def variable_name(key: str) -> str:
    """The environment variable of a dotted name: ``data.output`` is ``CHANDLERY_DATA_OUTPUT``."""
    return PREFIX + key.replace(".", "_").upper()


def config_file(chosen: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file to read, or None where there is none.

    The chosen one, else the one that CHANDLERY_CONFIG names, else ./config/workflow.json, else workflow.json in the
    user's configuration folder. The first two must exist: ConfigurationError.
    """
    named = environ.get(CONFIG_VARIABLE)
    if chosen is not None or named:
        path = chosen if chosen is not None else Path(str(named)).expanduser()
        if not path.exists():
            asked_by = "the command line" if chosen is not None else CONFIG_VARIABLE
            raise ConfigurationError(
                f"the configuration file {path} that {asked_by} names does not exist.",
                hint="Correct the path, or name none: every setting has a default.",
            )
        return path
    standard = (PROJECT_FILE, platformdirs.user_config_path("chandlery", appauthor=False) / "workflow.json")
    return next((path for path in standard if path.exists()), None)


def file_layer(path: Path, known: Iterable[str]) -> Layer:
    """The values of a JSON file of sections. Raises ConfigurationError for one that cannot be read or understood."""
    known, document, layer = list(known), _read_json(path), Layer()
    sections = {key.partition(".")[0] for key in known}
    for section, content in document.items():
        if section not in sections:
            raise _unknown(f"{section} in {path}", section, sorted(sections))
        if not isinstance(content, dict):
            raise ConfigurationError(f"{section} in {path} is not an object.", hint='Write {"key": value, ...}.')
        for name, value in content.items():
            key = f"{section}.{name}"
            if key not in known:
                raise _unknown(f"{key} in {path}", key, known)
            layer[key] = Given(value=value, place=f"{key} in {path}")
    return layer


def environment_layer(environ: Mapping[str, str], known: Iterable[str], nullable: Iterable[str]) -> Layer:
    """The values of CHANDLERY_* variables; an empty one counts as not set, ``null`` empties a key of ``nullable``."""
    keys = {variable_name(key): key for key in known}
    nullable, layer = set(nullable), Layer()
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in _NOT_SETTINGS or variable.startswith(_NOT_SETTINGS_PREFIX):
            continue
        if variable not in keys:
            raise _unknown(f"the variable {variable}", variable, keys)
        if text:
            key = keys[variable]
            layer[key] = Given(value=_or_null(text, key in nullable), place=variable)
    return layer


def override_layer(
    overrides: Mapping[str, object], known: Iterable[str], nullable: Iterable[str], places: Mapping[str, str]
) -> Layer:
    """The values of the command line, by dotted name; None means that the option was not used.

    ``places`` says what was typed, such as ``the option --since``; without it the dotted name has to do.
    """
    known, nullable, layer = list(known), set(nullable), Layer()
    for key, value in overrides.items():
        if key not in known:
            raise _unknown(f"the option {key}", key, known)
        if value is not None:
            layer[key] = Given(value=_or_null(value, key in nullable), place=places.get(key, f"the option {key}"))
    return layer


def _or_null(value: object, nullable: bool) -> object:
    return None if nullable and value == "null" else value


def _unknown(place: str, name: str, known: Iterable[str]) -> ConfigurationError:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    meant = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
    return ConfigurationError(f"{place} is not a setting.", hint=meant)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigurationError(
                f"{path} has more than {LARGEST_FILE:,} bytes, which no configuration has.", hint="Name the right file."
            )
        document = json.loads(
            path.read_text(encoding="utf-8-sig"),
            object_pairs_hook=_without_duplicates(path),
            parse_constant=_refuse_constant(path),
        )
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise ConfigurationError(f"{where}: {error.msg}.", hint="The file must be JSON; comments are not.") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} is not a JSON text: {error}.", hint="Save it as UTF-8, or name the right file."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", hint="Look at the path and its permissions."
        ) from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} is not a JSON object of sections.", hint='Begin with {"data": {...}}.')
    return document


def _without_duplicates(path: Path) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
            raise ConfigurationError(f"{twice} stands twice in one object of {path}.", hint="Remove one of the two.")
        return found

    return as_dict


def _refuse_constant(path: Path) -> Callable[[str], Any]:
    def refuse(constant: str) -> Any:
        raise ConfigurationError(f"{path} holds {constant}, which is not JSON.", hint="Write a number or null.")

    return refuse
