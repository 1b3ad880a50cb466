"""``chandlery doctor``: is everything fit for collecting, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import AsJson, BaseUrl, Config, settings_from
from chandlery.cli.screen import console, table, write_json

EXAMPLES = """
Examples:

  chandlery doctor

  chandlery doctor --json

Exit code: 0 if all is well, 1 otherwise, 2 for a configuration that cannot be read.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(doctor)


def doctor(base_url: BaseUrl = None, json: AsJson = False, config: Config = None) -> int:
    """Check configuration, database, disk, clock and exchange; say what to do about each that is not well."""
    import asyncio

    from chandlery.services.doctor import diagnose

    checks = asyncio.run(diagnose(settings_from(config, data_collection__base_url=base_url)))
    if json:
        write_json([asdict(check) for check in checks])
    else:
        shown = table("", "check", "found", "what to do", left=4)
        for check in checks:
            shown.add_row("[green]ok[/]" if check.ok else "[red]NO[/]", check.name, check.found, check.hint)
        console.print(shown)
    return ExitCode.COMPLETE if all(check.ok for check in checks) else ExitCode.INCOMPLETE
