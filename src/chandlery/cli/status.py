"""``chandlery status``: what is stored, what is missing, and how fresh it is."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chandlery.cli.options import AsJson, Config, Symbols, settings_from
from chandlery.cli.plain import plain_spans, plain_time
from chandlery.cli.screen import complain, console, day, duration, moment, note, say, size, table, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from chandlery.services.status import SeriesStatus
    from chandlery.settings import Settings

EXAMPLES = """
Examples:

  chandlery status

  chandlery status BTC-USDT --json

  chandlery status --watch --every 5
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(status)


def status(
    symbols: Symbols = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks of --watch.")] = 10,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """Show every stored series: first, last, candles, coverage, gaps and lag."""
    if watch:
        from chandlery.cli.watching import watch_status

        watch_status(settings_from(config), symbols or (), every_s=every, as_json=json)
        return
    from chandlery.services.opening import open_storage
    from chandlery.services.status import series_status
    from chandlery.storage.runs import RunLog

    settings = settings_from(config)
    with open_storage(settings) as storage:
        storage.require_schema()
        rows = series_status(storage, now=time.time_ns() // 1_000_000, symbols=symbols or ())
        newest = RunLog(storage.database).newest()
    if json:
        write_json([plain_status(row) for row in rows])
    elif rows:
        draw(rows)
        if newest is not None:
            outcome = newest.outcome or "still running, or killed"
            note(f"Last run: {newest.command}, {moment(newest.started_at)} UTC, {outcome}.")
    elif not symbols:
        say(_nothing(settings))
    if not json:
        _name_absent(symbols or (), rows)


def _nothing(settings: Settings) -> str:
    """Why nothing is shown, and the next step."""
    if settings.data.output == "csv":
        folder = settings.data.csv_folder
        return (
            f"The database holds nothing: by data.output, candles go to CSV files in {folder}."
            f" Look at them: chandlery check. Bring them here: chandlery import {folder}"
        )
    return "Nothing is stored yet. Collect something: chandlery collect BTC-USDT --since 2024-01-01"


def _name_absent(symbols: Sequence[str], rows: list[SeriesStatus]) -> None:
    from chandlery.domain.instrument import canonical_symbol

    stored = {row.symbol for row in rows}
    for symbol in dict.fromkeys(map(canonical_symbol, symbols)):
        if symbol not in stored:
            note(f"No candles of {symbol} are stored. Collect it: chandlery collect {symbol}")


def draw(rows: list[SeriesStatus]) -> None:
    """Print a line a series, and what last went wrong."""
    console.print(lines(rows))
    for row in rows:
        for span in row.retired:
            note(f"{row.symbol} {row.timeframe}: retention dropped {day(span.start)} to {day(span.end)}.")
        if row.last_error:
            complain(f"{row.symbol} {row.timeframe}: {row.last_error}")


def plain_status(row: SeriesStatus) -> dict[str, Any]:
    """A series for JSON."""
    times = {"first": plain_time(row.first), "last": plain_time(row.last)}
    return asdict(row) | times | {"gaps": plain_spans(row.gaps), "retired": plain_spans(row.retired)}


def lines(rows: list[SeriesStatus]) -> Table:
    """A line a series."""
    derived = ["derived"] if any(row.derived for row in rows) else []
    sealed = ["sealed"] if any(row.sealed for row in rows) else []
    columns = ("series", "exchange", "first", "last", "candles", *sealed, "coverage", *derived, "gaps", "lag")
    shown = table(*columns, left=4)
    for row in rows:
        # rounded down, so that only what is complete reads as complete
        coverage = f"{int(row.coverage * 10_000) / 100:.2f} %"
        shown.add_row(
            f"{row.symbol} {row.timeframe}",
            row.exchange,
            day(row.first),
            moment(row.last),
            f"{row.candles:,}",
            *(_tiers(row) for _ in sealed),
            f"[green]{coverage}[/]" if row.coverage == 1 else f"[yellow]{coverage}[/]",
            *(f"{int(row.derived * 100)} %" for _ in derived),
            str(len(row.gaps)),
            duration(row.lag_s),
        )
    return shown


def _tiers(row: SeriesStatus) -> str:
    """How much is sealed, and how much of it has no rows any more."""
    archived = f", {row.archived} archived" if row.archived else ""
    alone = f" ({row.without_rows} without rows{archived})" if row.without_rows else ""
    return f"{row.sealed}{alone}, {size(row.sealed_bytes)}" if row.sealed else "-"
