"""``chandlery schema``: make or upgrade the tables, or see which version they have."""

from __future__ import annotations

from typing import Annotated

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import AsJson, Config, QuickGroup, examples, settings_from
from chandlery.cli.screen import say, write_json

EXAMPLES = """
Examples:

  chandlery schema status

  chandlery schema apply

  chandlery schema roles --print

  chandlery schema roles --apply
"""

app = typer.Typer(
    cls=QuickGroup,
    help="Make or upgrade the database's tables, or see which version they have.",
    epilog=EXAMPLES,
    no_args_is_help=True,
)


@app.command(epilog=examples("chandlery schema apply"))
def apply(config: Config = None) -> None:
    """Bring the tables to this program's version; safe to repeat, and to run twice at once."""
    from chandlery.services.opening import open_storage
    from chandlery.storage.schema import apply_schema, schema_status

    with open_storage(settings_from(config)) as storage:
        before = schema_status(storage.database)
        after = apply_schema(storage.database)
    if before.applied == after.applied:
        say(f"The schema is at revision {after.applied} already.")
    else:
        say(f"The schema went from {before.applied or 'nothing'} to revision {after.applied}.")


@app.command(epilog=examples("chandlery schema status", "chandlery schema status --json"))
def status(json: AsJson = False, config: Config = None) -> int:
    """Compare the tables' version with this program's; exit code 1 if they differ."""
    from chandlery.services.opening import open_storage
    from chandlery.storage.schema import schema_status

    with open_storage(settings_from(config)) as storage:
        found = schema_status(storage.database)
    if json:
        write_json({"applied": found.applied, "head": found.head, "pending": found.pending, "too_new": found.too_new})
    elif found.too_new:
        say(f"The database has revision {found.applied}, this program knows {found.head}: install the newer chandlery.")
    elif found.pending:
        say(f"The database has {found.applied or 'no schema'}, this program needs {found.head}: chandlery schema apply")
    else:
        say(f"The schema is at revision {found.applied}, as this program needs it.")
    return ExitCode.INCOMPLETE if found.pending or found.too_new else ExitCode.COMPLETE


@app.command(epilog=examples("chandlery schema roles --print", "chandlery schema roles --apply"))
def roles(
    owner: Annotated[str, typer.Option(help="Who changes the schema, seals and drops.")] = "chandlery_owner",
    writer: Annotated[str, typer.Option(help="Who collects and imports.")] = "chandlery_writer",
    reader: Annotated[str, typer.Option(help="Who reads.")] = "chandlery_reader",
    backup: Annotated[str, typer.Option(help="Who dumps.")] = "chandlery_backup",
    apply: Annotated[
        bool, typer.Option("--apply/--print", help="Do it, or only print the SQL, for whoever may do it.")
    ] = False,
    config: Config = None,
) -> None:
    """Make four roles that log nobody in: owner, writer, reader, backup; each may do its work and nothing else."""
    from chandlery.services.opening import open_storage
    from chandlery.storage.roles import Roles, apply_roles, roles_script

    chosen = Roles(owner=owner, writer=writer, reader=reader, backup=backup)
    if not apply:
        typer.echo(roles_script(chosen))
        return
    with open_storage(settings_from(config)) as storage:
        apply_roles(storage.database, chosen)
    say(f"The tables belong to {owner}; {writer} may write, {reader} read, {backup} dump.")
    say("They log nobody in: make your logins members of them, as docs/security.md shows.")
