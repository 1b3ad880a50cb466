"""The exit codes of every command; docs/commands.md promises them."""

from __future__ import annotations

from enum import IntEnum

from chandlery.errors import ChandleryError, DatabaseError, ExchangeError, StorageError


class ExitCode(IntEnum):
    """What the shell is told."""

    COMPLETE = 0
    INCOMPLETE = 1
    USAGE = 2
    DATABASE = 3
    EXCHANGE = 4
    INTERRUPTED = 130


def exit_code_of(error: ChandleryError) -> ExitCode:
    """The code for an error that ended a command; whatever is not the stores' or the exchange's is the user's."""
    if isinstance(error, DatabaseError | StorageError):
        return ExitCode.DATABASE
    return ExitCode.EXCHANGE if isinstance(error, ExchangeError) else ExitCode.USAGE
