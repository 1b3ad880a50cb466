"""The line that moves while a collection runs: pages, candles, rate and time left; in a log, a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chandlery.cli.screen import note

if TYPE_CHECKING:
    from chandlery.services.collect import Progress as Collected

_LOG_EVERY_S = 30.0


class ProgressLine:
    """Draws the progress on standard error, so that results stay alone on standard output."""

    def __init__(self) -> None:
        self._began = self._logged = time.monotonic()
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("pages  {task.fields[candles]:,} candles  {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("looking", total=None, candles=0, rate=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

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
        if self._bar.disable and time.monotonic() - self._logged > _LOG_EVERY_S:
            self._logged = time.monotonic()
            note(
                f"{progress.series_done}/{progress.series_planned} series, {progress.pages_done}/"
                f"{progress.pages_planned} pages, {candles:,} candles, {candles / elapsed:,.0f}/s"
            )


class RowsLine:
    """The same for an import: how many rows of which file are done."""

    def __init__(self, sources: int) -> None:
        self._sources, self._finished = sources, 0
        self._logged = time.monotonic()
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.completed:,.0f} rows"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("looking", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, name: str, rows: int) -> None:
        """Draw where the import is now."""
        where = f"{self._finished + 1}/{self._sources} {name}"
        self._bar.update(self._task, description=where, completed=rows)
        if self._bar.disable and time.monotonic() - self._logged > _LOG_EVERY_S:
            self._logged = time.monotonic()
            note(f"{where}: {rows:,} rows")

    def finished(self, _: object) -> None:
        """One more source is done."""
        self._finished += 1
