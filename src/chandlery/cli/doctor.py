"""``chandlery doctor``: is everything fit for collecting, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import AsJson, BaseUrl, Config, settings_from
from chandlery.cli.screen import console, note, table, write_json

if TYPE_CHECKING:
    from chandlery.settings import Settings

EXAMPLES = """
Examples:

  chandlery doctor

  chandlery doctor --json

  chandlery doctor --tune

--tune shows the server's settings that matter for candles, and changes nothing; docs/tuning.md has the measurements.
Exit code: 0 if all is well, 1 otherwise, 2 for a configuration that cannot be read, 3 for --tune without a database.
"""

Tune = Annotated[bool, typer.Option("--tune", help="Show the server's settings that matter here, and what to change.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(doctor)


def doctor(base_url: BaseUrl = None, tune: Tune = False, json: AsJson = False, config: Config = None) -> int:
    """Check configuration, database, disk, clock and exchange; say what to do about each that is not well."""
    settings = settings_from(config, data_collection__base_url=base_url)
    return _tune(settings, json=json) if tune else _diagnose(settings, json=json)


def _diagnose(settings: Settings, *, json: bool) -> int:
    import asyncio

    from chandlery.services.doctor import diagnose

    checks = asyncio.run(diagnose(settings))
    if json:
        write_json([asdict(check) for check in checks])
    else:
        shown = table("", "check", "found", "what to do", left=4)
        for check in checks:
            shown.add_row("[green]ok[/]" if check.ok else "[red]NO[/]", check.name, check.found, check.hint)
        console.print(shown)
    return ExitCode.COMPLETE if all(check.ok for check in checks) else ExitCode.INCOMPLETE


def _tune(settings: Settings, *, json: bool) -> int:
    from chandlery.services.opening import open_storage
    from chandlery.storage.tuning import advice

    with open_storage(settings) as storage:
        found = advice(storage.database)
    if json:
        write_json([asdict(one) for one in found])
        return ExitCode.COMPLETE
    shown = table("setting", "now", "better", "why", left=4)
    for one in found:
        shown.add_row(one.name, one.now, one.advised or "[green]good[/]", one.why)
    console.print(shown)
    for one in found:
        if one.statement:
            console.print(f"{one.statement}{'  -- then restart the server' if one.restart else ''}", soft_wrap=True)
    if any(one.statement and not one.restart for one in found):
        console.print("SELECT pg_reload_conf();")
    if not any(one.advised for one in found):
        note("Nothing to change.")
    return ExitCode.COMPLETE
