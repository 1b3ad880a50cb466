"""The sections of the settings: what can be set, its default, and which values contradict one another.

The models below are the only list of what can be set; names of variables and of keys in the file follow from them.
docs/configuration.md explains each.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from chandlery.domain.timeframe import TIMEFRAMES, UtcMs
from chandlery.errors import ConfigurationError
from chandlery.setting_types import (
    Count,
    CountFromZero,
    FirstTime,
    Folder,
    Interval,
    LastTime,
    Listed,
    OptionalInterval,
    Pause,
    PromFile,
    Seconds,
    Share,
    Symbol,
    Terms,
    WebAddress,
)
from chandlery.storage.config import DEFAULT_PORT, PostgresConfig
from chandlery.storage.login_files import password_in


class Section(BaseModel):
    """Settings that belong together. They are frozen, and whatever refuses one never shows its value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class DataSettings(Section):
    """Where candles go. ``folder`` holds the embedded server; None is the platform's place for a user's data."""

    output: Literal["postgres", "csv", "both"] = "postgres"
    csv_folder: Folder = Path("data/klines")
    folder: Folder | None = None


class CollectionSettings(Section):
    """What to collect and how hard to ask.

    The ``*_limit`` fields are requests per 2 s, as the exchange permits them; ``rate_share`` is how much of them to
    use. With ``share_pace`` all collectors behind one address keep one pace; ``address_name`` tells it from others,
    None is this machine's name. ``since`` and ``until`` are None for the start of history and for now;
    ``roll_up_from`` is the timeframe of which coarser ones are made, None for fetching them all; ``follow_s`` is from
    round to round, None for one round.
    """

    base_url: WebAddress = "https://openapi.okx.com"
    demo: bool = False
    symbols: Annotated[tuple[Symbol, ...], Listed] = ()
    timeframes: Annotated[tuple[Interval, ...], Listed, Field(min_length=1)] = ("1m",)
    since: FirstTime = None
    until: LastTime = None
    bulk: Literal["auto", "never", "only"] = "auto"
    roll_up_from: OptionalInterval = None
    follow_s: Pause = None
    rate_share: Share = 0.9
    share_pace: bool = True
    address_name: str | None = None
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


class DatabaseSettings(Section):
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
    max_overflow: Annotated[CountFromZero, Field(le=1_000)] = 10
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


class BackupSettings(Section):
    """Where backups go, and which stay when ``chandlery backup prune`` runs.

    ``folder`` None is the platform's place for data, beside that of the embedded server; ``programs`` is the folder of
    pg_dump and pg_restore, None to look for them. ``jobs`` is how many connections a dump uses.
    """

    folder: Folder | None = None
    programs: Folder | None = None
    jobs: Annotated[Count, Field(le=64)] = 2
    keep_last: Count = 7
    keep_daily: CountFromZero = 7
    keep_weekly: CountFromZero = 4


class RetentionSettings(Section):
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


class LoggingSettings(Section):
    """What is told of failures that are waited out. ``file`` is a rotating file beside standard error, in JSON."""

    format: Literal["people", "json"] = "people"
    level: Literal["debug", "info", "warning", "error"] = "warning"
    file: Folder | None = None
    file_bytes: Annotated[Count, Field(ge=10_000)] = 10_000_000
    file_count: Annotated[Count, Field(le=1_000)] = 5


class ServeSettings(Section):
    """Where ``chandlery serve`` listens. ``names`` are further host names by which browsers may reach it.

    ``token`` is asked of everybody; beyond loopback there is always one, made anew at each start if none is set.
    """

    host: str = "127.0.0.1"
    port: Annotated[CountFromZero, Field(le=65_535)] = 8400
    token: Annotated[SecretStr, Field(min_length=16)] | None = None
    names: Annotated[tuple[str, ...], Listed] = ()


class MetricsSettings(Section):
    """Where a process tells how it is doing. ``port`` None serves nothing; ``file`` is written when it ends."""

    port: Annotated[Count, Field(le=65_535)] | None = None
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    file: PromFile | None = None


def _midnight_or_moment(value: date | datetime) -> UtcMs:
    moment = value if isinstance(value, datetime) else datetime.combine(value, time(), UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
