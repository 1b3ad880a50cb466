"""Which PostgreSQL database to use, as whom, and how: one value that needs no database to be checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from chandlery.domain.timeframe import TIMEFRAMES, timeframe
from chandlery.errors import ConfigurationError, DataValidationError
from chandlery.storage.login_files import with_service

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DEFAULT_PORT = 5432
_REQUIRED_VARIABLES = {"POSTGRES_DB": "the database's name", "POSTGRES_USER": "the role to log in as"}


@dataclass(frozen=True, kw_only=True, repr=False)
class PostgresConfig:
    """A PostgreSQL database and how to hold connections to it.

    ``host`` is a name, an address, or the folder of a Unix socket; several stand comma-separated. ``ssl_mode`` left
    empty becomes ``prefer`` on this machine and ``verify-full`` for any other. ``pool_timeout`` and ``pool_recycle``
    are seconds: how long to wait for a free connection, and the age at which one is replaced. ``retention_days`` is
    how long candles are kept, None for ever. ``batch_size`` is the greatest number of candles in one transaction.
    ``parameters`` are further libpq parameters, such as ``sslrootcert``. An empty ``password`` leaves the choice to
    libpq: a password file, or a login without one.

    Raises ConfigurationError for a value that cannot be.
    """

    host: str = "localhost"
    database: str
    user: str
    password: str = ""
    port: int = DEFAULT_PORT
    ssl_mode: str = ""
    pool_size: int = 5
    max_overflow: int = 10
    pool_timeout: float = 30.0
    pool_recycle: float = 3600.0
    pool_pre_ping: bool = True
    supported_intervals: tuple[str, ...] = tuple(TIMEFRAMES)
    retention_days: int | None = None
    batch_size: int = 100_000
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("host", "database", "user"):
            _check_text(name, getattr(self, name), may_be_empty=False)
        _check_text("password", self.password, may_be_empty=True)
        if not self.ssl_mode:
            object.__setattr__(self, "ssl_mode", default_ssl_mode(self.host))
        _check_ssl_mode(self.ssl_mode)
        self._check_numbers()
        object.__setattr__(self, "supported_intervals", _known_intervals(self.supported_intervals))

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        shown["password"] = "***" if self.password else ""
        shown["parameters"] = sorted(self.parameters)  # the names only: sslpassword is among the possible ones
        return f"PostgresConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _check_numbers(self) -> None:
        _check_whole("port", self.port, 1, 65_535)
        _check_whole("pool_size", self.pool_size, 1, 1_000)
        _check_whole("max_overflow", self.max_overflow, 0, 1_000)
        _check_whole("batch_size", self.batch_size, 1, 10_000_000)
        if self.retention_days is not None:
            _check_whole("retention_days", self.retention_days, 1, 100_000)
        for name in ("pool_timeout", "pool_recycle"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 1e9:
                raise ConfigurationError(f"{name} is {seconds!r}.", hint="Give a number of seconds above 0.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """From POSTGRES_HOST, _PORT, _DB, _USER, _PASSWORD and _SSL_MODE; only _DB and _USER must be set.

        ``environ`` is the process's environment unless given. An empty variable counts as not set. Raises
        ConfigurationError naming the variable.
        """
        given = {name: text for name, text in (os.environ if environ is None else environ).items() if text}
        for name, meaning in _REQUIRED_VARIABLES.items():
            if name not in given:
                raise ConfigurationError(f"{name} is not set.", hint=f"Set it to {meaning}.")
        port = given.get("POSTGRES_PORT", str(DEFAULT_PORT))
        return cls(
            host=given.get("POSTGRES_HOST", "localhost"),
            port=_port(port, "POSTGRES_PORT"),
            database=given["POSTGRES_DB"],
            user=given["POSTGRES_USER"],
            password=given.get("POSTGRES_PASSWORD", ""),
            ssl_mode=given.get("POSTGRES_SSL_MODE", ""),
        )

    @classmethod
    def from_url(
        cls, url: str, *, password: str = "", ssl_mode: str = "", ssl_root_cert: str = "", **others: object
    ) -> Self:
        """From ``postgresql://user:password@host:port/database?parameter=value``; ``others`` are fields of this class.

        ``postgresql:///?service=name`` takes what it lacks from libpq's service file. ``password``, ``ssl_mode`` and
        ``ssl_root_cert`` hold where neither has any. Raises ConfigurationError, without quoting the URL.
        """
        known = with_service(url_parts(url))
        if ssl_root_cert:
            known.setdefault("sslrootcert", ssl_root_cert)
        port = known.pop("port", str(DEFAULT_PORT))
        hint = "It should look like postgresql://user@host:5432/database."
        for name in ("host", "user", "dbname"):
            if not known.get(name):
                raise ConfigurationError(f"the database's URL has no {name}.", hint=hint)
        return cls(
            host=known.pop("host"),
            port=_port(port, "the port in the database's URL"),
            database=known.pop("dbname"),
            user=known.pop("user"),
            password=known.pop("password", password),
            ssl_mode=known.pop("sslmode", ssl_mode),
            parameters=known,
            **others,  # type: ignore[arg-type]
        )

    def conninfo(self) -> str:
        """The libpq connection string. It holds the password: never log it."""
        from psycopg.conninfo import make_conninfo

        named: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password or None,
            "sslmode": self.ssl_mode,
        }
        return make_conninfo(**{**self.parameters, **named})


def default_ssl_mode(host: str) -> str:
    """``prefer`` for this machine (loopback or a Unix socket), ``verify-full`` for every other; empty is a socket."""
    return "prefer" if all(map(_is_local, host.split(","))) else "verify-full"


def _is_local(host: str) -> bool:
    return host in ("", "localhost", "::1") or host.startswith(("127.", "/", "@"))


def url_parts(url: str) -> dict[str, str]:
    """A URL's parts under libpq's names, all of them text. Raises ConfigurationError, without quoting it."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    hint = "It should look like postgresql://user@host:5432/database, with %40 for an @ in the password."
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError("the database's URL does not begin with postgresql://.", hint=hint)
    try:
        parts = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeError):
        # without its cause: libpq quotes what it could not read, which may be a piece of the password
        raise ConfigurationError("the database's URL cannot be read.", hint=hint) from None
    known = {name: str(value) for name, value in parts.items() if value is not None}
    # an unescaped @ or / in a password tears it, and a piece of it would be told as the name of a host or a port
    told = (known.get("host", "")[1:], known.get("dbname", ""))
    if any("@" in part for part in told) or not set(known.get("port", "")) <= set("0123456789,"):
        raise ConfigurationError("the database's URL cannot be read.", hint=hint)
    return known


def refuse_password(url: str, option: str) -> None:
    """Raise ConfigurationError if a URL that stood on the command line holds a password: everybody could see it."""
    if any("password" in name for name in url_parts(url)):
        raise ConfigurationError(
            f"{option} holds a password, which every user of this machine can see on a command line.",
            hint="Leave it out, and give it in ~/.pgpass, in PGPASSWORD, or in a service: postgresql:///?service=name.",
        )


def _port(text: str, where: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65_535):
        raise ConfigurationError(f"{where} is {text[:80]!r}.", hint="Give one port from 1 to 65535.")
    return int(text)


def _check_text(name: str, value: object, *, may_be_empty: bool) -> None:
    if not isinstance(value, str) or not (value or may_be_empty):
        raise ConfigurationError(f"{name} must be text that is not empty.", hint=f"Set the database's {name}.")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ConfigurationError(f"{name} holds a character that PostgreSQL cannot take.", hint="Type it again.")


def _check_ssl_mode(mode: object) -> None:
    if mode not in SSL_MODES:
        raise ConfigurationError(
            f"ssl_mode is {mode!r}, not one of {', '.join(SSL_MODES)}.",
            hint="Use verify-full across a network; disable only on this machine.",
        )


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigurationError(f"{name} is {value!r}.", hint=f"Give a whole number from {least} to {most}.")


def _known_intervals(names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, (list, tuple, set, frozenset)) or not names:
        raise ConfigurationError(
            f"supported_intervals is {names!r}.", hint=f"Give a list with some of {', '.join(TIMEFRAMES)}."
        )
    try:
        return tuple(dict.fromkeys(timeframe(name).name for name in names))
    except (DataValidationError, TypeError) as error:
        hint = f"Supported: {', '.join(TIMEFRAMES)}."
        raise ConfigurationError(f"supported_intervals holds an unknown timeframe: {names!r}.", hint=hint) from error
