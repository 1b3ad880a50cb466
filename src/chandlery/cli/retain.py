"""``chandlery retain``: what has served its term goes, as the section ``retention`` of the settings says."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import AsJson, Config, DryRun, Symbols, settings_from
from chandlery.cli.plain import plain_series, plain_span
from chandlery.cli.screen import complain, console, day, note, say, size, table, write_json
from chandlery.errors import ConfigurationError

if TYPE_CHECKING:
    from chandlery.services.retention import Policy, RetentionReport, Step
    from chandlery.settings import Settings

EXAMPLES = """
Examples:

  chandlery retain --dry-run

  chandlery retain

  chandlery retain BTC-USDT --without-copy --yes-lose-them
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(retain)


def retain(
    symbols: Symbols = None,
    dry_run: DryRun = False,
    without_copy: Annotated[
        bool, typer.Option("--without-copy", help="Also drop for good what is neither sealed nor archived.")
    ] = False,
    yes_lose_them: Annotated[
        bool, typer.Option("--yes-lose-them", help="Together with --without-copy: yes, that is meant.")
    ] = False,
    json: AsJson = False,
    config: Config = None,
) -> int:
    """Drop what has served its term: rows that are sealed, then segments that are archived."""
    from chandlery.cli.progress import status_line
    from chandlery.services.opening import open_storage
    from chandlery.services.retention import Action, Keeper, RetentionReport

    if without_copy and not (yes_lose_them or dry_run):
        raise ConfigurationError(
            "--without-copy loses candles for good.", hint="See which: add --dry-run. Then add --yes-lose-them."
        )
    settings = settings_from(config)
    with open_storage(settings) as storage, status_line(_described) as show:
        storage.require_schema()
        keeper = Keeper(storage, _policy(settings, lose=without_copy), time.time_ns() // 1_000_000, show)
        steps = keeper.plan(symbols or ())
        report = RetentionReport() if dry_run else keeper.run(steps)
    if json:
        write_json({"dry_run": dry_run, "steps": [_as_json(step) for step in steps], "done": asdict(report)})
    else:
        _tell(settings, steps, None if dry_run else report)
    held_up = any(step.action is Action.KEEP and not step.holds_newest for step in steps)
    return ExitCode.INCOMPLETE if held_up or report.changed else ExitCode.COMPLETE


def _policy(settings: Settings, *, lose: bool) -> Policy:
    from chandlery.services.retention import policy_of

    chosen, days = settings.retention, settings.database.retention_days
    return policy_of(chosen.rows, chosen.segments, days, chosen.archive, lose=lose)


def _described(step: Step) -> str:
    return f"{step.series} {day(step.unit.start)}: {step.action}"


def _as_json(step: Step) -> dict[str, Any]:
    return {
        **plain_series(step.series),
        **plain_span(step.unit),
        "action": step.action,
        "rows": step.rows,
        "segments": int(step.segment_bytes > 0),
        "segment_bytes": step.segment_bytes,
        "partition": step.partition,
        "why": step.why,
    }


def _tell(settings: Settings, steps: list[Step], done: RetentionReport | None) -> None:
    chosen = settings.retention
    if not (chosen.rows or chosen.segments or settings.database.retention_days):
        say("Everything is kept for ever: no retention is configured. docs/retention.md tells how.")
        return
    if done is None:
        _draw(steps)
        return
    for step in steps:
        if step.action == "keep" and not step.holds_newest:
            complain(f"{step.series} {day(step.unit.start)} stays: {step.why}.")
    say(
        f"Dropped {done.rows:,} rows, {done.partitions:,} partitions whole, and {done.segments:,} segments"
        f" ({size(done.bytes)}); archived {done.files:,} files."
    )
    if done.lost:
        say(f"{done.lost:,} months are gone for good; chandlery status names them.")
    if done.changed:
        note(f"{done.changed:,} months were written to meanwhile, and are left to the next run.")


def _draw(steps: list[Step]) -> None:
    """A line a step."""
    if not steps:
        say("Nothing has served its term.")
        return
    shown = table("series", "from", "action", "rows", "segment", "why", left=3)
    for step in steps:
        whole = f"; with all of {step.partition}" if step.partition else ""
        shown.add_row(
            str(step.series),
            day(step.unit.start),
            step.action,
            f"{step.rows:,}" if step.rows else "-",
            size(step.segment_bytes) if step.segment_bytes else "-",
            f"{step.why}{whole}",
        )
    console.print(shown)
