"""Writing for people: tables, times and numbers in one style; errors go to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from chandlery.domain.timeframe import UtcMs

_NAMED = 3
"""Things that are named one by one; more are counted."""

_WIDE = 200
"""Columns for output into a file or a pipe, where nothing has to fit a window."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Tell ``main``, for which a reader who has seen enough is no failure."""
        raise BrokenPipeError  # without its number, for which typer would end the process by itself


console = _Console(highlight=False)
if not console.is_terminal:
    console.width = _WIDE
_errors = Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """One error, on standard error."""
    _errors.print(f"[bold red]chandlery:[/] {_escaped(message)}", soft_wrap=True)


def note(message: str) -> None:
    """Something worth knowing that is no result, on standard error."""
    _errors.print(f"[dim]{_escaped(message)}[/]", soft_wrap=True)


def say(message: str) -> None:
    """A line of result."""
    console.print(_escaped(message), soft_wrap=True)


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """A result for programs, on standard output."""
    try:
        sys.stdout.write(json.dumps(value, indent=indent, default=str) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        console.on_broken_pipe()


def write_json_line(value: Any) -> None:
    """One of many results, in one line."""
    write_json(value, indent=None)


def table(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """An empty table whose first ``left`` columns are text and whose others are numbers.

    In a window that is too narrow text goes on in the next line: nothing is cut, numbers least of all.
    """
    made = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    for position, name in enumerate(columns):
        is_text = position < left
        wraps = is_text or position == len(columns) - 1
        made.add_column(name, justify="left" if is_text else "right", no_wrap=not wraps, overflow="fold")
    return made


def program() -> str:
    """How this program was called, so that a shown command can be typed as it stands."""
    called = sys.argv[0]
    if shutil.which("chandlery") or Path(called).name != "chandlery":
        return "chandlery"
    with contextlib.suppress(ValueError):  # no path leads from one drive to another
        called = min(os.path.relpath(called), called, key=len)
    return called


def moment(time: UtcMs | None) -> str:
    """A time as ``2024-01-31 12:00``, UTC; with seconds only where there are any."""
    if time is None:
        return "-"
    from datetime import UTC, datetime

    shown = datetime.fromtimestamp(time / 1000, UTC)
    return shown.strftime("%Y-%m-%d %H:%M" if shown.second == 0 else "%Y-%m-%d %H:%M:%S")


def day(time: UtcMs | None) -> str:
    """The day of a time, UTC, as ``2024-01-31``."""
    return moment(time)[:10]


def duration(seconds: float | None) -> str:
    """A length of time in its largest two units, such as ``2h 5m``."""
    if seconds is None:
        return "-"
    left, parts = max(0, round(seconds)), []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def size(count: int) -> str:
    """So many bytes in the unit that suits, such as ``5.1 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1_000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} TB"


def names(things: Sequence[object]) -> str:
    """The first few by name, which stand for all."""
    named = ", ".join(map(str, things[:_NAMED]))
    return named if len(things) <= _NAMED else f"{named} and {len(things) - _NAMED} more"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
