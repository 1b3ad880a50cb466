"""Command lines as the program itself understands them, without running anything."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer.main

from chandlery.cli.app import app

_ENDS = re.compile(r"\s(\||>|&&|;|#|&$).*")
_SUBSTITUTED = re.compile(r"\$\([^)]*\)")
_VARIABLE = re.compile(r"[A-Z_]+=")


@cache
def root() -> Any:
    """``chandlery`` as typer made it."""
    return typer.main.get_command(app)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and group with its whole name, such as ``export csv``; the program itself first."""
    waiting = [("", root())]
    for name, command in waiting:
        yield name, command
        waiting += [(f"{name} {of}".strip(), sub) for of, sub in getattr(command, "commands", {}).items()]


def understand(line: str) -> None:
    """Parse a shell line that calls ``chandlery``, as the program would; raises TyperException for a wrong one."""
    words = shlex.split(_ENDS.sub("", _SUBSTITUTED.sub("value", line)), comments=True)
    while _VARIABLE.match(words[0]):
        words = words[1:]
    assert words[0].endswith("chandlery"), line
    command, given = root(), words[1:]
    while given and given[0] in getattr(command, "commands", {}):
        command, given = command.commands[given[0]], given[1:]
    if not getattr(command, "commands", {}) or given:
        command.make_context("chandlery", given)
