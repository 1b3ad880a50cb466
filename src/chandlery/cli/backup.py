"""``chandlery backup``: make backups, prove them, bring them back, and let old ones go."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import AsJson, Config, DryRun, QuickGroup, configured, examples, settings_from
from chandlery.cli.plain import plain_time
from chandlery.cli.screen import complain, console, duration, moment, say, size, table, write_json
from chandlery.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from chandlery.domain.instrument import Series
    from chandlery.services.backup.shelf import Backup, Shelf, Verdict
    from chandlery.settings import Settings

EXAMPLES = """
Examples:

  chandlery backup create

  chandlery backup create --portable --folder /mnt/other-disk/candles

  chandlery backup list

  chandlery backup verify latest

  chandlery backup restore latest

  chandlery backup prune --keep-last 3 --dry-run

docs/backup.md has the whole story.
"""

app = typer.Typer(
    cls=QuickGroup,
    help="Make backups while collecting goes on, prove them, and bring them back.",
    epilog=EXAMPLES,
    no_args_is_help=True,
)

_DAMAGED = "[red]damaged[/]"

Folder = Annotated[
    Path | None,
    typer.Option(
        help="The folder of the backups.",
        show_default=configured("backup.folder", "chandlery-backups among your user's data, wherever data.folder is"),
    ),
]
Name = Annotated[str, typer.Argument(help="A backup's name, or latest, or a path to one elsewhere.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--i-trust-this-backup", help="A dump from elsewhere may run any SQL when it is restored: do it nevertheless."
    ),
]


@app.callback()
def _before() -> None:
    """Let SIGTERM do what Ctrl-C does: stop what was started, and leave nothing half done."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@app.command(
    epilog=examples("chandlery backup create", "chandlery backup create --portable --folder /mnt/other-disk/candles")
)
def create(
    portable: Annotated[
        bool, typer.Option("--portable", help="Parquet and JSON for any program, instead of a pg_dump.")
    ] = False,
    folder: Folder = None,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """Back up the whole database as it is at one moment; collecting goes on meanwhile."""
    from chandlery.cli.progress import status_line
    from chandlery.services.backup.create import create_backup
    from chandlery.services.opening import open_storage

    settings = settings_from(config, backup__folder=folder)
    with open_storage(settings) as storage, status_line(_named) as show:
        made = create_backup(
            storage.database,
            _shelf(settings),
            form="portable" if portable else "dump",
            now=_now(),
            folders=_folders(settings),
            jobs=settings.backup.jobs,
            on_series=show,
        )
    if json:
        write_json(_described(made))
    else:
        held = made.manifest
        say(
            f"Made {made.folder}: {len(held.contents.series):,} series, {held.candles:,} candles, {size(held.bytes)}."
            f" Prove it: chandlery backup verify {made.name}"
        )


@app.command(name="list", epilog=examples("chandlery backup list", "chandlery backup list --json"))
def list_(folder: Folder = None, json: AsJson = False, config: Config = None) -> None:
    """List the backups, the oldest first."""
    shelf = _shelf(settings_from(config, backup__folder=folder))
    backups = shelf.backups()
    if json:
        write_json([_described(backup) for backup in backups])
    elif not backups:
        say(f"There is no backup in {shelf.folder}. Make one: chandlery backup create")
    else:
        shown = table("backup", "age", "size", "series", "candles", "verified")
        for backup in backups:
            shown.add_row(*_row(backup))
        console.print(shown)


@app.command(
    epilog=examples("chandlery backup verify", "chandlery backup verify latest --folder /mnt/other-disk/candles")
)
def verify(
    name: Name = "latest", folder: Folder = None, trust: Trust = False, json: AsJson = False, config: Config = None
) -> int:
    """Prove a backup: check every file, restore it into a private server, compare every fingerprint."""
    from chandlery.cli.progress import status_line
    from chandlery.services.backup.verify import verify_backup

    settings = settings_from(config, backup__folder=folder)
    backup = _found(_shelf(settings), name, trust)
    with status_line(_named) as show:
        wrong = verify_backup(backup, folders=_all_folders(settings), now=_now(), on_series=show)
    if json:
        write_json({"name": backup.name, "sound": not wrong, "wrong": wrong})
    elif wrong:
        for sentence in wrong:
            complain(sentence)
        say(f"{backup.name} is damaged.")
    else:
        held = backup.manifest
        say(f"{backup.name} is sound: {held.candles:,} candles of {len(held.contents.series):,} series came back.")
    return ExitCode.INCOMPLETE if wrong else ExitCode.COMPLETE


@app.command(epilog=examples("chandlery backup restore latest"))
def restore(
    name: Name, folder: Folder = None, trust: Trust = False, json: AsJson = False, config: Config = None
) -> None:
    """Bring a backup back into an empty database, and compare every fingerprint; collecting simply goes on."""
    from chandlery.cli.progress import status_line
    from chandlery.services.backup.restore import restore_backup
    from chandlery.services.opening import open_storage

    settings = settings_from(config, backup__folder=folder)
    backup = _found(_shelf(settings), name, trust)
    with open_storage(settings, apply=False) as storage, status_line(_named) as show:
        held = restore_backup(backup, storage.database, folders=_folders(settings), on_series=show)
    if json:
        write_json(_described(backup))
    else:
        say(f"Restored {held.candles:,} candles of {len(held.contents.series):,} series; all are as they were.")


@app.command(epilog=examples("chandlery backup prune --keep-last 3 --dry-run"))
def prune(
    keep_last: Annotated[
        int | None,
        typer.Option(help="Keep so many of the newest.", show_default=configured("backup.keep_last", "7")),
    ] = None,
    keep_daily: Annotated[
        int | None,
        typer.Option(
            help="Keep the newest of so many days that have one.", show_default=configured("backup.keep_daily", "7")
        ),
    ] = None,
    keep_weekly: Annotated[
        int | None,
        typer.Option(
            help="Keep the newest of so many weeks that have one.", show_default=configured("backup.keep_weekly", "4")
        ),
    ] = None,
    dry_run: DryRun = False,
    folder: Folder = None,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """Delete old backups, never the only good one."""
    from chandlery.services.backup.prune import Keep, expendable

    given = {"keep_last": keep_last, "keep_daily": keep_daily, "keep_weekly": keep_weekly}
    settings = settings_from(config, backup__folder=folder, **{f"backup__{key}": n for key, n in given.items()})
    chosen = settings.backup
    shelf = _shelf(settings)
    going = expendable(shelf.backups(), Keep(last=chosen.keep_last, daily=chosen.keep_daily, weekly=chosen.keep_weekly))
    for backup in going:
        if not dry_run:
            shelf.remove(backup)
    if json:
        write_json({"dry_run": dry_run, "deleted": [backup.name for backup in going]})
    elif going:
        say(f"{'Would delete' if dry_run else 'Deleted'} {', '.join(backup.name for backup in going)}.")
    else:
        say("Nothing to delete.")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _shelf(settings: Settings) -> Shelf:
    from chandlery.services.backup.shelf import Shelf, default_folder

    return Shelf(settings.backup.folder or default_folder())


def _folders(settings: Settings) -> list[Path]:
    """Where pg_dump and pg_restore may be: the one place that was set, else the usual ones."""
    from chandlery.storage.client_programs import usual_folders

    return [settings.backup.programs] if settings.backup.programs else usual_folders()


def _all_folders(settings: Settings) -> list[Path]:
    """The same for the private server of a verification, which may be of another version."""
    from chandlery.storage.client_programs import usual_folders

    return [*usual_folders(), *([settings.backup.programs] if settings.backup.programs else [])]


def _found(shelf: Shelf, name: str, trust: bool) -> Backup:
    backup = shelf.find(name)
    if not shelf.holds(backup) and backup.manifest.form == "dump" and not trust:
        raise ConfigurationError(
            f"{backup.folder} is not in {shelf.folder}, and restoring a dump runs what it contains.",
            hint="If you know who made it, add --i-trust-this-backup.",
        )
    return backup


def _described(backup: Backup) -> dict[str, Any]:
    """A backup for programs."""
    from chandlery.services.backup.files import only_unreadable

    verdict = backup.verdict
    verified = None if verdict is None else {"at": plain_time(verdict.at), "sound": verdict.sound}
    described = {"name": backup.name, "folder": str(backup.folder), "verified": verified}
    try:
        held = backup.manifest
    except StorageError as error:
        return described | {"unreadable" if only_unreadable(error) else "damaged": str(error)}
    return described | {
        "form": held.form,
        "made_at": plain_time(held.made_at),
        "bytes": held.bytes,
        "series": len(held.contents.series),
        "candles": held.candles,
    }


def _row(backup: Backup) -> list[str]:
    from chandlery.services.backup.files import only_unreadable

    try:
        held = backup.manifest
    except StorageError as error:
        return [backup.name, "-", "-", "-", "-", "cannot be read" if only_unreadable(error) else _DAMAGED]
    counts = [f"{count:,}" for count in (len(held.contents.series), held.candles)]
    return [backup.name, duration((_now() - held.made_at) / 1000), size(held.bytes), *counts, _verified(backup.verdict)]


def _verified(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not yet"
    return f"[green]{moment(verdict.at)}[/]" if verdict.sound else _DAMAGED


def _named(series: Series) -> str:
    return str(series)
