"""The line that moves while a command works, on standard error; in a log, a line now and then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from chandlery.cli.screen import note

if TYPE_CHECKING:
    from chandlery.services.collect import Progress as Collected

_LOG_EVERY_S = 30.0
P = ParamSpec("P")


@contextlib.contextmanager
def status_line(described: Callable[P, str]) -> Iterator[Callable[P, None]]:
    """Shows what is worked on, in the words of ``described``; nothing where standard error is no terminal."""
    with Console(stderr=True).status("looking") as line:

        def show(*args: P.args, **kwargs: P.kwargs) -> None:
            line.update(described(*args, **kwargs))

        yield show


class _Line:
    """A line of ``columns`` on standard error, so that results stay alone on standard output."""

    def __init__(self, *columns: ProgressColumn, **fields: Any) -> None:
        self._began = self._logged = time.monotonic()
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("looking", total=None, **fields)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _log(self, message: str) -> None:
        """The same for a log, where it is time for a line."""
        if self._bar.disable and time.monotonic() - self._logged > _LOG_EVERY_S:
            self._logged = time.monotonic()
            note(message)


class ProgressLine(_Line):
    """How far a collection is: pages, candles, rate and time left."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("pages  {task.fields[candles]:,} candles  {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            candles=0,
            rate=0.0,
        )

    def show(self, progress: Collected) -> None:
        """Draw where the collection is now."""
        elapsed = max(time.monotonic() - self._began, 0.001)
        candles = progress.result.stored
        self._bar.update(
            self._task,
            description=", ".join(str(series) for series in progress.under_way[:2]) or "done",
            total=progress.pages_planned or None,
            completed=progress.pages_done,
            candles=candles,
            rate=candles / elapsed,
        )
        self._log(
            f"{progress.series_done}/{progress.series_planned} series, {progress.pages_done}/"
            f"{progress.pages_planned} pages, {candles:,} candles, {candles / elapsed:,.0f}/s"
        )


class RowsLine(_Line):
    """How far an import is: how many rows of which file are done."""

    def __init__(self, sources: int) -> None:
        super().__init__(TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} rows"))
        self._sources, self._finished = sources, 0

    def show(self, name: str, rows: int) -> None:
        """Draw where the import is now."""
        where = f"{self._finished + 1}/{self._sources} {name}"
        self._bar.update(self._task, description=where, completed=rows)
        self._log(f"{where}: {rows:,} rows")

    def finished(self, _: object) -> None:
        """One more source is done."""
        self._finished += 1
