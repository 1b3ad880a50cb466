"""``chandlery archive``: sealed months as Parquet files in a folder or a bucket."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from chandlery.cli.options import AsJson, Config, OlderThan, Symbols, Timeframes, settings_from
from chandlery.cli.screen import say, size, write_json
from chandlery.cli.seal import age_ms, described

EXAMPLES = """
Examples:

  chandlery archive /mnt/archive --older-than 52w

  chandlery archive s3://candles/okx BTC-USDT --timeframe 1m
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(archive)


def archive(
    place: Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix.")],
    symbols: Symbols = None,
    timeframe: Timeframes = None,
    older_than: OlderThan = "45d",
    json: AsJson = False,
    config: Config = None,
) -> None:
    """Write closed and complete months into files that DuckDB, Spark and chandlery itself read; nothing is dropped."""
    from chandlery.cli.progress import status_line
    from chandlery.domain.timeframe import timeframe as named
    from chandlery.services.archive import Archiver, ArchiveReport
    from chandlery.services.opening import open_storage
    from chandlery.services.seal import Sealer

    before = time.time_ns() // 1_000_000 - age_ms(older_than)
    names = [named(name).name for name in timeframe or ()]
    with open_storage(settings_from(config)) as storage, status_line(described) as show:
        storage.require_schema()
        sealer, archiver, report = Sealer(storage, show), Archiver(storage, place, show), ArchiveReport()
        for entry in sealer.entries(symbols or (), names):
            sealer.seal(entry, before=before)
            report += archiver.archive(entry, before=before)
    if json:
        write_json(asdict(report))
        return
    say(f"Archived {report.files:,} files with {report.candles:,} candles ({size(report.bytes)}).")
    if report.known:
        say(f"{report.known:,} files were there already.")
