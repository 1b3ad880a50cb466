"""All settings: defaults, then the configuration file, the environment and the command line, in one frozen value.

What can be set stands in ``chandlery.setting_sections``. Every refused value is reported with the place it came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails

from chandlery.errors import ConfigurationError
from chandlery.redaction import redact
from chandlery.setting_sections import (
    BackupSettings,
    CollectionSettings,
    DatabaseSettings,
    DataSettings,
    LoggingSettings,
    MetricsSettings,
    RetentionSettings,
    Section,
    ServeSettings,
)
from chandlery.setting_sources import Layer, config_file, environment_layer, file_layer, override_layer


class Settings(Section):
    """Everything that can be set. Make one with ``load_settings``."""

    data: DataSettings = DataSettings()
    data_collection: CollectionSettings = CollectionSettings()
    database: DatabaseSettings = DatabaseSettings()
    backup: BackupSettings = BackupSettings()
    retention: RetentionSettings = RetentionSettings()
    logging: LoggingSettings = LoggingSettings()
    metrics: MetricsSettings = MetricsSettings()
    serve: ServeSettings = ServeSettings()

    @model_validator(mode="after")
    def _collects_what_the_database_supports(self) -> Self:
        unsupported = set(self.data_collection.timeframes) - set(self.database.supported_intervals)
        if unsupported:
            raise ValueError(
                f"data_collection.timeframes has {', '.join(sorted(unsupported))}, database.supported_intervals not"
            )
        return self


def load_settings(
    config_path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] = MappingProxyType({}),
    places: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """All settings: the defaults, over them the file, over it the environment, over it ``overrides``.

    ``overrides`` has dotted names such as ``data.output``; None there means not given. ``places`` says what was
    typed to give one, such as ``the option --output``. Raises ConfigurationError that names every value it refuses and
    the place it came from, and never shows a secret.
    """
    path = config_file(config_path, environ)
    layer: Layer = file_layer(path, KEYS) if path else {}
    layer |= environment_layer(environ, KEYS, _NULLABLE)
    layer |= override_layer(overrides, KEYS, _NULLABLE, places)
    document: dict[str, dict[str, object]] = {section: {} for section in _SECTIONS}
    for key, given in layer.items():
        section, _, name = key.partition(".")
        document[section][name] = given.value
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        sentences = [_sentence(problem, layer) for problem in error.errors(include_url=False)]
    # raised outside, so that pydantic's error, which holds every value, is not chained to it
    raise ConfigurationError("\n".join(dict.fromkeys(sentences)), hint="docs/configuration.md explains every setting.")


_SECTIONS: dict[str, type[Section]] = {
    "data": DataSettings,
    "data_collection": CollectionSettings,
    "database": DatabaseSettings,
    "backup": BackupSettings,
    "retention": RetentionSettings,
    "logging": LoggingSettings,
    "metrics": MetricsSettings,
    "serve": ServeSettings,
}
_FIELDS = {f"{name}.{field}": info for name, model in _SECTIONS.items() for field, info in model.model_fields.items()}

KEYS = tuple(_FIELDS)
"""The dotted name of everything that can be set."""

_SECRET = frozenset(key for key, info in _FIELDS.items() if "SecretStr" in str(info.annotation))
_NULLABLE = frozenset(key for key, info in _FIELDS.items() if info.default is None) - _SECRET


def _sentence(problem: ErrorDetails, layer: Layer) -> str:
    """What is wrong with which value from where, for a person."""
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    key = ".".join(str(part) for part in problem["loc"][:2])
    if key not in layer:  # several values contradict one another
        places = ", ".join(given.place for name, given in layer.items() if name in message)
        return redact(f"{message.rstrip('.')}{f' ({places})' if places else ''}.")
    value = "" if key in _SECRET else f" is {_shown(layer[key].value)}"
    return f"{layer[key].place}{value}: {redact(message).rstrip('.')}."


def _shown(value: object) -> str:
    text = redact(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
