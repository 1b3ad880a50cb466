"""``chandlery status --watch``: the same table again and again, for those who have no Prometheus."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from chandlery.cli.screen import complain, console, moment, write_json_line
from chandlery.cli.status import lines, plain_status
from chandlery.errors import DatabaseError

if TYPE_CHECKING:
    from chandlery.services.status import SeriesStatus
    from chandlery.settings import Settings

Show = Callable[[list["SeriesStatus"], str], None]
"""Shows what was found, or what was found last with the reason why there is nothing newer."""


def watch_status(settings: Settings, symbols: Sequence[str], *, every_s: float, as_json: bool = False) -> None:
    """Look every ``every_s`` until Ctrl-C. A database that goes away later is waited for."""
    from chandlery.services.opening import open_storage
    from chandlery.services.status import series_status

    with contextlib.suppress(KeyboardInterrupt), open_storage(settings) as storage, _shown(as_json) as show:
        storage.require_schema()
        rows: list[SeriesStatus] = []
        while True:
            problem = ""
            try:
                rows = series_status(storage, now=time.time_ns() // 1_000_000, symbols=symbols)
            except DatabaseError as error:
                problem = str(error)
            show(rows, problem)
            time.sleep(every_s)


@contextlib.contextmanager
def _shown(as_json: bool) -> Iterator[Show]:
    """On a terminal in one place, in a file or a pipe one after the other, for programs a line of JSON each."""
    if as_json:
        yield _write
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda rows, problem: live.update(_picture(rows, problem), refresh=True)
    else:
        yield _print


def _write(rows: list[SeriesStatus], problem: str) -> None:
    if problem:
        complain(problem)
    else:
        write_json_line([plain_status(row) for row in rows])


def _print(rows: list[SeriesStatus], problem: str) -> None:
    console.print(_picture(rows, problem))


def _picture(rows: list[SeriesStatus], problem: str) -> Group:
    """What needs an eye comes first, for a window may be too low for all."""
    ordered = sorted(rows, key=lambda row: row.coverage == 1 and row.last_error is None)
    errors = [f"{row.symbol} {row.timeframe}: {row.last_error}" for row in ordered if row.last_error]
    told = [Text(text, style="red") for text in (problem, *errors) if text]
    return Group(Text(f"{moment(int(time.time()) * 1000)} UTC", style="dim"), *told, lines(ordered))
