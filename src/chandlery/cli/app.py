"""The list of commands. Each imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from chandlery.cli import (
    archive,
    backup,
    chart,
    check,
    collect,
    demo,
    doctor,
    export,
    import_,
    retain,
    schema,
    seal,
    serve,
    show,
    simulate,
    status,
    stream,
)
from chandlery.cli.options import QuickGroup
from chandlery.cli.screen import console

app = typer.Typer(
    name="chandlery",
    cls=QuickGroup,
    help="Keeps OKX candles in PostgreSQL and proves that none is missing.",
    epilog="chandlery alone shows the first steps, chandlery COMMAND --help the options of a command, with examples.",
    no_args_is_help=False,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

collect.register(app)
stream.register(app)
show.register(app)
chart.register(app)
serve.register(app)
status.register(app)
check.register(app)
seal.register(app)
archive.register(app)
retain.register(app)
doctor.register(app)
simulate.register(app)
demo.register(app)
import_.register(app)
app.add_typer(export.app, name="export")
app.add_typer(backup.app, name="backup")
app.add_typer(schema.app, name="schema")

_FIRST_STEPS = """[bold]chandlery[/] keeps OKX candles in PostgreSQL and proves that none is missing.

First steps:
  chandlery demo                                      try it without a network or a database
  chandlery collect BTC-USDT --since 2024-01-01       collect 1m candles into the embedded PostgreSQL
  chandlery status                                    what is stored, and what is missing
  chandlery chart BTC-USDT                            the newest candles in the terminal
  chandlery serve                                     charts and a coverage map in the browser

And then:
  chandlery stream BTC-USDT                           store candles as they close
  chandlery check                                     look for gaps, broken rows, outages
  chandlery export parquet FOLDER                     files for others; also csv, arrow, freqtrade, qlib
  chandlery backup create                             a backup, while collecting goes on
  chandlery doctor                                    what is wrong, and what to do about it
  chandlery --help                                    all commands; --install-completion for the Tab key

A server of your own: set CHANDLERY_DATABASE_URL=postgresql://user@host/database"""


@app.callback(invoke_without_command=True)
def first_contact(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Keeps OKX candles in PostgreSQL and proves that none is missing."""
    if version:
        from importlib.metadata import version as installed

        console.print(f"chandlery {installed('chandlery')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.print(_FIRST_STEPS)
