"""Every error that chandlery raises, and whether trying again can help.

    ChandleryError
    ├── ConfigurationError        a setting is missing, unknown or impossible
    ├── DataValidationError       input that cannot be understood as candles
    ├── DataNotFoundError         a series or instrument that is not there
    ├── StorageError              a store other than PostgreSQL (CSV files) failed
    │   └── ArchiveUnavailable    an archived file cannot be had
    ├── DatabaseError             PostgreSQL refused or failed
    │   ├── ConnectionError       it cannot be reached
    │   ├── SchemaError           its schema is absent, older or newer than this program
    │   ├── HealthCheckError      it answers, but not as a healthy server does
    │   └── DamagedDataError      what is stored is not what was written
    │       └── MisplacedRowError a row written by hand is no candle
    └── ExchangeError             the exchange refused or failed
        ├── RateLimited           too many requests; it says when to come back
        ├── ExchangeUnavailable   it cannot be reached, or answers nonsense
        ├── RequestRefused        it will never answer this request
        └── BadPage               it answered, with candles that contradict the request

Foreign errors are translated once, where they enter, and kept as ``__cause__``. Whoever retries asks for
``transient`` and never for a class.
"""

from __future__ import annotations

import builtins


class ChandleryError(Exception):
    """Base of all errors raised by chandlery.

    ``transient`` tells whether the same call may succeed later without anybody's doing.
    ``hint`` is the next step for a person, or an empty string.
    """

    transient: bool = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.hint}" if self.hint else message


class ConfigurationError(ChandleryError):
    """A setting is missing, unknown or impossible."""


class DataValidationError(ChandleryError, ValueError):
    """Input that cannot be understood as candles: a missing column, an ambiguous time, a wrong type."""


class DataNotFoundError(ChandleryError, LookupError):
    """The series or instrument asked for is not there."""


class StorageError(ChandleryError):
    """A store other than PostgreSQL failed, such as a CSV file that cannot be read or written."""


class ArchiveUnavailable(StorageError):
    """An archived file cannot be had: its place is out of reach, or it is not there. All else is as it was."""


class DatabaseError(ChandleryError):
    """PostgreSQL refused or failed.

    ``sqlstate`` is the server's five-character code, or None where the driver has none. ``kind`` is the class of the
    failure: ``connection`` and ``resource`` speak of the server's health, ``data`` of what it was given, and so on.
    """

    def __init__(
        self, message: str, *, hint: str = "", sqlstate: str | None = None, transient: bool = False, kind: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate
        self.transient = transient
        self.kind = kind


class ConnectionError(DatabaseError, builtins.ConnectionError):
    """PostgreSQL cannot be reached, or the connection to it broke."""


class SchemaError(DatabaseError):
    """The schema is absent, or older or newer than this program."""


class HealthCheckError(DatabaseError):
    """The server answers, but not as a healthy one does."""


class DamagedDataError(DatabaseError):
    """What is stored is not what was written: a sealed month whose bytes have changed."""


class MisplacedRowError(DamagedDataError, ValueError):
    """A stored row opens at a time at which no bar of its timeframe does, as one written by hand may."""


class ExchangeError(ChandleryError):
    """The exchange refused or failed. ``code`` is the exchange's own error code, or an empty string."""

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class RateLimited(ExchangeError):
    """Too many requests. ``retry_after_s`` is what the exchange asked for, in seconds, or None."""

    transient = True

    def __init__(self, message: str, *, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class ExchangeUnavailable(ExchangeError):
    """The exchange cannot be reached, is down, or answers something that is not its protocol."""

    transient = True


class RequestRefused(ExchangeError):
    """The exchange will never answer this request: an unknown instrument, a bad parameter, a closed region."""


class BadPage(ExchangeError):
    """A page of candles that contradicts its request; nothing of it was stored."""

    transient = True
