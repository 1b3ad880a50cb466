"""The one translation of the driver's errors into ours: what happened, can it pass by itself, what to do next.

The class of a driver error says too little: a crash and a wrong password are both OperationalError, a read-only server
is an InternalError, a missing partition an IntegrityError, and a failed connect carries no SQLSTATE at all. So the
decision is made on three things: SQLSTATE, whether the connection is broken, and the phase in which it happened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from chandlery.errors import ConnectionError, DatabaseError, SchemaError
from chandlery.redaction import redact


class Phase(StrEnum):
    """What was being done when it failed."""

    CONNECT = "connect"
    EXECUTE = "execute"
    COMMIT = "commit"


class FailureClass(StrEnum):
    """What kind of failure it is; only the first two say anything about the server's health."""

    CONNECTION = "connection"
    RESOURCE = "resource"
    CONTENTION = "contention"
    TIMEOUT = "timeout"
    DATA = "data"
    CONFIGURATION = "configuration"
    CORRUPTION = "corruption"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One classified failure. ``transient``: the whole transaction may be tried again."""

    kind: FailureClass
    transient: bool
    hint: str = ""


def _passing(kind: FailureClass, hint: str = "") -> Failure:
    return Failure(kind=kind, transient=True, hint=hint)


def _lasting(kind: FailureClass, hint: str = "") -> Failure:
    return Failure(kind=kind, transient=False, hint=hint)


CONNECTION_LOST = _passing(FailureClass.CONNECTION)
_CONTENTION = _passing(FailureClass.CONTENTION)
_DATA = _lasting(FailureClass.DATA)
_NO_SCHEMA = _lasting(FailureClass.CONFIGURATION, "Run: chandlery schema apply")

READ_ONLY = "25006"
"""A session that may not write. The setting may be the session's own, so a new session has to be tried."""

_BY_STATE: dict[str, Failure] = {
    READ_ONLY: _passing(FailureClass.CONNECTION, "The server is read-only: a standby, or a failover."),
    "25P03": CONNECTION_LOST,
    "25P04": CONNECTION_LOST,
    "28000": _lasting(FailureClass.CONFIGURATION, "Check the database's user and pg_hba.conf."),
    "28P01": _lasting(FailureClass.CONFIGURATION, "Check the database's user and password."),
    "3D000": _lasting(FailureClass.CONFIGURATION, "Create the database, or correct its name."),
    "3F000": _NO_SCHEMA,
    "42501": _lasting(FailureClass.CONFIGURATION, "The database user lacks a permission: grant it, or use the owner."),
    "42P01": _NO_SCHEMA,
    "53100": _passing(FailureClass.RESOURCE, "The server's disk is full: free space there."),
    "53200": _lasting(FailureClass.CONFIGURATION, "The server ran out of memory: raise max_locks_per_transaction."),
    "53300": _passing(FailureClass.RESOURCE, "Raise max_connections or lower database.pool_size."),
    "55006": _CONTENTION,
    "55P03": _CONTENTION,
    "57014": _passing(FailureClass.TIMEOUT, "Raise database.statement_timeout_s if the work really takes that long."),
    "57P04": _lasting(FailureClass.CONFIGURATION, "The database was dropped."),
    "XX000": _lasting(FailureClass.PROGRAM, "Look into the server's log."),
}
_BY_CLASS: dict[str, Failure] = {
    "08": CONNECTION_LOST,
    "22": _DATA,
    "23": _DATA,
    "28": _lasting(FailureClass.CONFIGURATION, "Check the database's user and password."),
    "40": _CONTENTION,
    "53": _passing(FailureClass.RESOURCE),
    "57": CONNECTION_LOST,
    "58": _passing(FailureClass.RESOURCE, "Look into the server's log."),
    "P0": _DATA,  # raised by a trigger that somebody added to the tables
    "XX": _lasting(
        FailureClass.CORRUPTION, "The server reports damaged data: look into its log, check with pg_amcheck."
    ),
}
_UNREACHED = "Start the server or correct database.url; chandlery doctor looks closer."
_PROGRAM = _lasting(FailureClass.PROGRAM, "This is a fault of chandlery; please report it.")


_SAID_AT_CONNECT = (
    (re.compile(r"password authentication failed|no password supplied"), "28P01"),
    (re.compile(r"no pg_hba\.conf entry|authentication failed for user|role \".*\" (does not exist|is not)"), "28000"),
    (re.compile(r"database \".*\" does not exist"), "3D000"),
    (re.compile(r"permission denied for database"), "42501"),
    (re.compile(r"too many clients|too many connections|remaining connection slots"), "53300"),
    (re.compile(r"the database system is "), "57P03"),
)
"""What servers that speak English say when they refuse a connection; others are judged by what went before."""


_OF_TLS = (
    (
        re.compile(r"server does not support SSL"),
        "Switch TLS on there, or, where you trust every wire between, choose otherwise by database.ssl_mode (sslmode in"
        " the URL): prefer.",
    ),
    (
        re.compile(r"root certificate|certificate verify failed|server certificate for|weak sslmode"),
        "Name the authority's certificate in database.ssl_root_cert (sslrootcert in the URL; system takes this"
        " machine's), call the server by the name in its certificate, or choose otherwise by database.ssl_mode.",
    ),
)
"""What libpq says where the connection is not protected as was asked for, and what can be done."""


def refused_connection(said: str) -> Failure:
    """What a failed connect without an SQLSTATE means."""
    hint = next((hint for words, hint in _OF_TLS if words.search(said)), None)
    return CONNECTION_LOST if hint is None else _lasting(FailureClass.CONFIGURATION, hint)


def state_of(error: psycopg.Error, phase: Phase) -> str | None:
    """The SQLSTATE of a driver error. That of a refused connection libpq keeps to itself: it is told by the words."""
    if error.sqlstate is not None or phase is not Phase.CONNECT:
        return error.sqlstate
    return next((state for said, state in _SAID_AT_CONNECT if said.search(str(error))), None)


def classify(error: psycopg.Error, *, broken: bool, phase: Phase) -> Failure:
    """Decide what a driver error means. ``broken`` tells whether its connection is unusable now."""
    state = state_of(error, phase)
    if state is not None:
        return classify_state(state)
    if phase is Phase.CONNECT:
        return refused_connection(str(error))
    if broken:
        return CONNECTION_LOST
    # without a code and with a sound connection the driver itself refused a value, such as NUL in a text
    return _DATA if isinstance(error, psycopg.DataError) else _PROGRAM


def classify_state(state: str) -> Failure:
    """Decide what an SQLSTATE means."""
    return _BY_STATE.get(state) or _BY_CLASS.get(state[:2]) or _PROGRAM


def translated(error: psycopg.Error, *, broken: bool, phase: Phase) -> DatabaseError:
    """Our error for a driver error; the caller raises it ``from`` the original.

    The text is the server's primary message alone: its detail may quote values, and nothing here may carry a secret.
    """
    failure = classify(error, broken=broken, phase=phase)
    kind: type[DatabaseError] = DatabaseError
    if phase is Phase.CONNECT or failure.kind is FailureClass.CONNECTION:
        kind = ConnectionError
    elif failure is _NO_SCHEMA:
        kind = SchemaError
    return kind(
        _sentence(error, failure, phase),
        hint=failure.hint or (_UNREACHED if phase is Phase.CONNECT else ""),
        sqlstate=state_of(error, phase),
        transient=failure.transient,
        kind=failure.kind.value,
    )


def _sentence(error: psycopg.Error, failure: Failure, phase: Phase) -> str:
    lines = (error.diag.message_primary or str(error)).strip().splitlines() or [type(error).__name__]
    said = redact(lines[0].removeprefix("connection failed: ").removeprefix("connection is bad: ")).rstrip(".")
    if phase is Phase.CONNECT:
        lasting = failure.kind is FailureClass.CONFIGURATION
        return f"PostgreSQL {'refused the connection' if lasting else 'cannot be reached'}: {said}."
    return f"lost PostgreSQL: {said}." if failure.kind is FailureClass.CONNECTION else f"{said}."
