"""The command ``chandlery``: thin commands over the services, one sentence and one exit code for every error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from chandlery.cli.exits import ExitCode, exit_code_of
from chandlery.errors import ChandleryError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has seen enough; nothing may be flushed into the closed pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.COMPLETE


def _run(arguments: Sequence[str] | None) -> int:
    from typer.exceptions import TyperException

    from chandlery.cli.app import app
    from chandlery.cli.screen import complain

    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        outcome = app(args=given, prog_name="chandlery", standalone_mode=False)
        return outcome if isinstance(outcome, int) else ExitCode.COMPLETE
    except ChandleryError as error:
        complain(str(error))
        return exit_code_of(error)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        complain(_wrong_usage(error.format_message(), context.command_path if context else "chandlery"))
        return ExitCode.USAGE


def _wrong_usage(said: str, command: str) -> str:
    """Typer's message and pydantic's in one sentence; a group without its command has shown its help already."""
    what = said.strip().replace("Input should", "it should").rstrip(".?") or "a command has to follow"
    return f"{what}. Try: {command} --help"
