"""The table that a stream draws: the series that need an eye first, then the rest as far as the window reaches."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from chandlery.cli.screen import duration, note, table

if TYPE_CHECKING:
    from rich.table import Table

    from chandlery.domain.instrument import Series
    from chandlery.services.live.state import LiveProgress
    from chandlery.services.live.tail import Tail

_DRAW_EVERY_S = 0.5
_LOG_EVERY_S = 60.0
_LINES_AROUND = 5
"""Heading, summary and a line that stays free."""


class LiveTable:
    """Draws the progress on standard error while it is entered; in a log, a line a minute."""

    def __init__(self, progress: LiveProgress, *, shown: bool = True) -> None:
        self._progress = progress
        self._console = Console(stderr=True, highlight=False)
        self._shown = shown and self._console.is_terminal
        self._live = Live(console=self._console, auto_refresh=False, transient=False)

    async def __aenter__(self) -> Self:
        if self._shown:
            self._live.start()
        self._task = asyncio.create_task(self._draw() if self._shown else self._log())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._shown:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()
        elif self._progress.tails:
            note(_summary(self._progress, time.monotonic()))

    def note(self, message: str) -> None:
        """A line above the table."""
        self._live.console.print(message, style="dim", markup=False)

    async def _draw(self) -> None:
        while True:
            self._live.update(self._picture(), refresh=True)
            await asyncio.sleep(_DRAW_EVERY_S)

    async def _log(self) -> None:
        while True:
            await asyncio.sleep(_LOG_EVERY_S)
            note(_summary(self._progress, time.monotonic()))

    def _picture(self) -> Group:
        now_s = time.monotonic()
        rows = max(1, self._console.size.height - _LINES_AROUND)
        ordered = sorted(self._progress.tails.items(), key=lambda item: _urgency(item[1], self._progress.now))
        hidden = len(ordered) - rows
        more = [Text(f"and {hidden:,} more series", style="dim")] if hidden > 0 else []
        picture = live_rows(ordered[:rows], self._progress.now, now_s)
        return Group(picture, *more, Text(_summary(self._progress, now_s), style="dim"))


def live_rows(tails: list[tuple[Series, Tail]], now: int, now_s: float) -> Table:
    """A row a series: last close, age of the last push, candles stored in the last minute, and what is missing."""
    shown = table("series", "last close", "age", "candles/min", "stored", "gaps", left=1)
    for series, tail in tails:
        missing = tail.missing(now).length / 1000
        shown.add_row(
            str(series),
            "-" if tail.price is None else f"{tail.price:.12g}",
            "-" if tail.seen_s is None else duration(now_s - tail.seen_s),
            f"{tail.candles_a_minute(now_s):,}",
            f"{tail.stored:,}",
            duration(missing) if missing else "-",
            style=None if tail.pushed else "yellow",
        )
    return shown


def _urgency(tail: Tail, now: int) -> tuple[bool, bool]:
    """Sorts first what is not pushed, then what has gaps; the sort keeps the order asked for otherwise."""
    return tail.pushed, not tail.missing(now)


def _summary(progress: LiveProgress, now_s: float) -> str:
    tails = progress.tails.values()
    pushed = sum(tail.pushed for tail in tails)
    gaps = sum(bool(tail.missing(progress.now)) for tail in tails)
    median, tail_end = progress.latency_s(0.5), progress.latency_s(0.99)
    parts = [
        f"{pushed:,} of {len(progress.tails):,} series pushed",
        f"{progress.result.inserted:,} candles stored",
        f"{sum(tail.candles_a_minute(now_s) for tail in tails):,} in the last minute",
        f"{progress.healed:,} by REST",
        f"{gaps:,} series with gaps",
    ]
    if progress.losses:
        parts.append(f"{progress.losses:,} connections lost")
    if progress.waiting:
        parts.append(f"{progress.waiting:,} waiting for the database")
    if median is not None and tail_end is not None:
        parts.append(f"stored after {median * 1000:.0f} ms (median), {tail_end * 1000:.0f} ms (99 %)")
    return ", ".join(parts)
