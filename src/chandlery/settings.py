"""All settings: defaults, then the configuration file, the environment and the command line, in one frozen value.

The models below are the only list of what can be set; names of variables and of keys in the file follow from them.
Every refused value is reported with the place it came from. docs/configuration.md explains each.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from chandlery.domain.instrument import canonical_symbol
from chandlery.domain.timeframe import TIMEFRAMES, UtcMs, timeframe
from chandlery.errors import ConfigurationError
from chandlery.redaction import redact
from chandlery.setting_sources import Layer, config_file, environment_layer, file_layer, override_layer
from chandlery.storage.config import DEFAULT_PORT, PostgresConfig
from chandlery.storage.login_files import password_in

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


def _as_time(value: object) -> date | datetime | None:
    """A date stays one; a date and time without a zone is UTC."""
    if value is None:
        return None
    moment = _parsed_time(value) if isinstance(value, str) else value
    if not isinstance(moment, date) or not FIRST_YEAR <= moment.year < LAST_YEAR:
        raise ValueError("it should be a date such as 2024-01-31 or 2024-01-31T12:00:00Z")
    if not isinstance(moment, datetime):
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _parsed_time(text: str) -> date | datetime | None:
    for parse in (date.fromisoformat, datetime.fromisoformat):
        with contextlib.suppress(ValueError):
            return parse(text)
    return None


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
Seconds = Annotated[float, BeforeValidator(_not_a_switch), Field(gt=0, allow_inf_nan=False)]
Symbol = Annotated[str, PlainValidator(canonical_symbol)]
Interval = Annotated[str, PlainValidator(_is_timeframe)]
OptionalInterval = Annotated[str | None, PlainValidator(lambda value: None if value is None else _is_timeframe(value))]
Terms = Annotated[dict[str, int], PlainValidator(_as_terms)]
Pause = Annotated[float | None, PlainValidator(_as_pause)]
Listed = BeforeValidator(_as_list)
Moment = Annotated[datetime | date | None, PlainValidator(_as_time)]
Folder = Annotated[Path, BeforeValidator(lambda value: Path(value).expanduser() if isinstance(value, str) else value)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class DataSettings(_Section):
    """Where candles go. ``folder`` holds the embedded server; None is the platform's place for a user's data."""

    output: Literal["postgres", "csv", "both"] = "postgres"
    csv_folder: Folder = Path("data/klines")
    folder: Folder | None = None


class CollectionSettings(_Section):
    """What to collect and how hard to ask.

    The ``*_limit`` fields are requests per 2 s, as the exchange permits them; ``rate_share`` is how much of them to
    use. ``since`` and ``until`` are None for the start of history and for now; ``roll_up_from`` is the timeframe of
    which coarser ones are made, None for fetching them all; ``follow_s`` is from round to round, None for one round.
    """

    base_url: WebAddress = "https://openapi.okx.com"
    demo: bool = False
    symbols: Annotated[tuple[Symbol, ...], Listed] = ()
    timeframes: Annotated[tuple[Interval, ...], Listed, Field(min_length=1)] = ("1m",)
    since: Moment = None
    until: Moment = None
    bulk: Literal["auto", "never", "only"] = "auto"
    roll_up_from: OptionalInterval = None
    follow_s: Pause = None
    rate_share: Annotated[float, BeforeValidator(_not_a_switch), Field(gt=0, le=1)] = 0.9
    candles_limit: Count = 40
    history_limit: Count = 20
    instruments_limit: Count = 20
    time_limit: Count = 10
    file_listing_limit: Count = 1
    files_limit: Count = 5
    page_size: Annotated[Count, Field(le=300)] = 300
    concurrency: Annotated[Count, Field(le=32)] = 4
    request_timeout_s: Seconds = 10.0
    attempts: Annotated[Count, Field(le=100)] = 8
    stream_grace_s: Seconds = 5.0
    stream_channels: Count = 200

    @property
    def since_ms(self) -> UtcMs | None:
        """The first instant to collect, UTC milliseconds; None is the start of history."""
        return None if self.since is None else _midnight_or_moment(self.since)

    @property
    def until_ms(self) -> UtcMs | None:
        """The end of what to collect, exclusive, UTC milliseconds; a date includes its whole day; None is now."""
        if self.until is None:
            return None
        whole_day = not isinstance(self.until, datetime)
        return _midnight_or_moment(self.until + timedelta(days=1) if whole_day else self.until)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.since_ms is not None and self.until_ms is not None and self.since_ms >= self.until_ms:
            raise ValueError("data_collection.until must be later than data_collection.since")
        return self


class DatabaseSettings(_Section):
    """Which PostgreSQL server, and how to treat it. Neither ``url`` nor ``host`` means the embedded server."""

    url: SecretStr | None = None
    host: str | None = None
    port: Annotated[Count, Field(le=65_535)] = DEFAULT_PORT
    name: str | None = None
    user: str | None = None
    password: SecretStr | None = None
    password_file: Folder | None = None
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    ssl_root_cert: str | None = None
    pool_size: Annotated[Count, Field(le=1_000)] = 5
    max_overflow: Annotated[int, BeforeValidator(_not_a_switch), Field(ge=0, le=1_000)] = 10
    pool_timeout_s: Seconds = 30.0
    pool_recycle_s: Seconds = 3600.0
    pool_pre_ping: bool = True
    connect_timeout_s: Annotated[Count, Field(ge=2)] = 5
    statement_timeout_s: Seconds = 30.0
    lock_timeout_s: Seconds = 5.0
    client_deadline_s: Seconds = 40.0
    tcp_user_timeout_ms: Count = 10_000
    keepalives_idle_s: Count = 5
    keepalives_interval_s: Count = 3
    keepalives_count: Count = 3
    batch_size: Annotated[Count, Field(le=10_000_000)] = 100_000
    on_revision: Literal["replace", "keep"] = "replace"
    supported_intervals: Annotated[tuple[Interval, ...], Listed, Field(min_length=1)] = tuple(TIMEFRAMES)
    retention_days: Annotated[Count, Field(le=100_000)] | None = None

    @property
    def embedded(self) -> bool:
        """Whether no database is configured, so that the embedded server is meant."""
        return self.url is None and self.host is None

    def postgres(self) -> PostgresConfig | None:
        """The database to use, or None for the embedded server."""
        held: dict[str, Any] = {
            "pool_size": self.pool_size,
            "max_overflow": self.max_overflow,
            "pool_timeout": self.pool_timeout_s,
            "pool_recycle": self.pool_recycle_s,
            "pool_pre_ping": self.pool_pre_ping,
            "supported_intervals": self.supported_intervals,
            "retention_days": self.retention_days,
            "batch_size": self.batch_size,
            "password": self._password(),
            "ssl_mode": self.ssl_mode or "",
        }
        if self.url is not None:
            url = self.url.get_secret_value()
            return PostgresConfig.from_url(url, ssl_root_cert=self.ssl_root_cert or "", **held)
        if self.host is None:
            return None
        held["parameters"] = {"sslrootcert": self.ssl_root_cert} if self.ssl_root_cert else {}
        return PostgresConfig(host=self.host, port=self.port, database=self.name or "", user=self.user or "", **held)

    def _password(self) -> str:
        if self.password is not None:
            return self.password.get_secret_value()
        return password_in(self.password_file) if self.password_file is not None else ""

    @model_validator(mode="after")
    def _is_one_database(self) -> Self:
        parts = {"host": self.host, "name": self.name, "user": self.user}
        named = [name for name, value in parts.items() if value is not None]
        if self.url is not None and (named or self.port != DEFAULT_PORT):
            other = named[0] if named else "port"
            raise ValueError(f"database.url and database.{other} are both given; the URL holds it already")
        if self.host is not None and len(named) < len(parts):
            missing = next(name for name in parts if name not in named)
            raise ValueError(f"database.host is given without database.{missing}")
        if self.password is not None and self.password_file is not None:
            raise ValueError("database.password and database.password_file are both given")
        if self.embedded and (named or self.password or self.password_file):
            given = named[0] if named else "password" if self.password else "password_file"
            raise ValueError(f"database.{given} is given, but neither database.url nor database.host")
        return self

    @model_validator(mode="after")
    def _outwaits_the_server(self) -> Self:
        if self.client_deadline_s <= self.statement_timeout_s:
            raise ValueError("database.client_deadline_s must be more than database.statement_timeout_s")
        return self

    @model_validator(mode="after")
    def _agrees_with_its_url(self) -> Self:
        try:
            used = self.postgres()
        except ConfigurationError as error:
            culprit = "url" if self.url is not None else "password_file"
            raise ValueError(f"database.{culprit} cannot be used: {error}") from None
        if used and self.password and used.password != self.password.get_secret_value():
            raise ValueError("database.password is not the one in database.url")
        if used and self.ssl_mode and used.ssl_mode != self.ssl_mode:
            raise ValueError("database.ssl_mode is not the one in database.url")
        return self


class BackupSettings(_Section):
    """Where backups go, and which stay when ``chandlery backup prune`` runs.

    ``folder`` None is the platform's place for data, beside that of the embedded server; ``programs`` is the folder of
    pg_dump and pg_restore, None to look for them. ``jobs`` is how many connections a dump uses.
    """

    folder: Folder | None = None
    programs: Folder | None = None
    jobs: Annotated[Count, Field(le=64)] = 2
    keep_last: Count = 7
    keep_daily: Annotated[int, BeforeValidator(_not_a_switch), Field(ge=0)] = 7
    keep_weekly: Annotated[int, BeforeValidator(_not_a_switch), Field(ge=0)] = 4


class RetentionSettings(_Section):
    """How many days rows and segments are kept, by timeframe; what is not named is kept for ever.

    ``archive`` is a folder or ``s3://bucket/prefix`` where segments go before they are dropped.
    """

    rows: Terms = {}
    segments: Terms = {}
    archive: str | None = None

    @model_validator(mode="after")
    def _keeps_segments_longer(self) -> Self:
        for name, days in self.segments.items():
            if self.rows.get(name, days) > days:
                raise ValueError(f"retention.rows keeps {name} longer than retention.segments, which come after them")
        return self


class LoggingSettings(_Section):
    """What is told of failures that are waited out. ``file`` is a rotating file beside standard error, in JSON."""

    format: Literal["people", "json"] = "people"
    level: Literal["debug", "info", "warning", "error"] = "warning"
    file: Folder | None = None
    file_bytes: Annotated[Count, Field(ge=10_000)] = 10_000_000
    file_count: Annotated[Count, Field(le=1_000)] = 5


class ServeSettings(_Section):
    """Where ``chandlery serve`` listens. ``names`` are further host names by which browsers may reach it.

    ``token`` is asked of everybody; beyond loopback there is always one, made anew at each start if none is set.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, BeforeValidator(_not_a_switch), Field(ge=0, le=65_535)] = 8400
    token: Annotated[SecretStr, Field(min_length=16)] | None = None
    names: Annotated[tuple[str, ...], Listed] = ()


class MetricsSettings(_Section):
    """Where a process tells how it is doing. ``port`` None serves nothing; ``file`` is written when it ends."""

    port: Annotated[Count, Field(le=65_535)] | None = None
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    file: Annotated[Folder, AfterValidator(_for_the_textfile_collector)] | None = None


class Settings(_Section):
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


def _midnight_or_moment(value: date | datetime) -> UtcMs:
    moment = value if isinstance(value, datetime) else datetime.combine(value, time(), UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def load_settings(
    config_path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] = MappingProxyType({}),
) -> Settings:
    """All settings: the defaults, over them the file, over it the environment, over it ``overrides``.

    ``overrides`` has dotted names such as ``data.output``; None there means not given. Raises ConfigurationError that
    names every value it refuses and the place it came from, and never shows a secret.
    """
    path = config_file(config_path, environ)
    layer: Layer = file_layer(path, KEYS) if path else {}
    layer |= environment_layer(environ, KEYS, _NULLABLE)
    layer |= override_layer(overrides, KEYS, _NULLABLE)
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


_SECTIONS: dict[str, type[_Section]] = {
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
