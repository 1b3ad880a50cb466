"""``chandlery export csv``, ``parquet`` and ``arrow``: a file a series, which other programs read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import AsJson, Config, Since, Symbols, Timeframes, Until, settings_from
from chandlery.cli.plain import plain_series
from chandlery.cli.screen import console, note, table, write_json

if TYPE_CHECKING:
    from chandlery.services.export_files import ExportedFile, Wanted
    from chandlery.storage.candle_files import FileFormat

EXAMPLES = """
Examples:

  chandlery export {kind} exported

  chandlery export {kind} exported BTC-USDT ETH-USDT --timeframe 1m,1h --since 2024-01-01 --until 2024-01-31

A file a series, such as exported/{file}; each appears when it is whole. Times are UTC.
"""

Folder = Annotated[Path, typer.Argument(help="Where to; it is made if it is not there.")]
Exchange = Annotated[str | None, typer.Option(help="Only the candles of this exchange.", show_default="all")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")]


_HELP: dict[FileFormat, str] = {
    "csv": "Export candles into CSV files, which chandlery import takes back to the last bit.",
    "parquet": "Export candles into Parquet files, for DuckDB, pandas, polars, Spark and others.",
    "arrow": "Export candles into Arrow (Feather) files, which programs map into memory as they are.",
    "freqtrade": "Export candles into the files of freqtrade's data folder, such as user_data/data/okx.",
}

_FILES: dict[FileFormat, str] = {
    "csv": "BTC-USDT_1m.csv",
    "parquet": "BTC-USDT_1m.parquet",
    "arrow": "BTC-USDT_1m.arrow",
    "freqtrade": "BTC_USDT-1m.feather",
}


def register(app: typer.Typer) -> None:
    """Add a command for each kind of file to ``app``."""
    for kind, text in _HELP.items():
        app.command(name=kind, help=text, epilog=EXAMPLES.format(kind=kind, file=_FILES[kind]))(_command(kind))


def _command(kind: FileFormat) -> Callable[..., int]:
    def export(
        folder: Folder,
        symbols: Symbols = None,
        timeframe: Timeframes = None,
        since: Since = None,
        until: Until = None,
        exchange: Exchange = None,
        overwrite: Overwrite = False,
        json: AsJson = False,
        config: Config = None,
    ) -> int:
        wanted = _wanted(symbols, timeframe, since, until, exchange)
        return _export(folder, kind, wanted, overwrite=overwrite, as_json=json, config=config)

    return export


def _wanted(
    symbols: list[str] | None, timeframes: list[str] | None, since: str | None, until: str | None, exchange: str | None
) -> Wanted:
    from chandlery.domain.timeframe import timeframe
    from chandlery.services.export_files import Wanted
    from chandlery.storage.asked import bounds_of

    start, end = bounds_of(since, until)
    return Wanted(
        symbols=symbols or (),
        timeframes=[timeframe(name) for name in timeframes or ()],
        exchange=exchange,
        start=start,
        end=end,
    )


def _export(
    folder: Path, kind: FileFormat, wanted: Wanted, *, overwrite: bool, as_json: bool, config: Path | None
) -> int:
    from chandlery.services.export_files import export_files
    from chandlery.services.opening import open_storage

    def tell(file: ExportedFile) -> None:
        note(f"{file.series}: {file.candles:,} candles")

    with open_storage(settings_from(config)) as storage:
        written = export_files(storage, folder, kind, wanted, overwrite=overwrite, done=tell)
    if as_json:
        write_json([_plain(file) for file in written])
    else:
        _tell(written)
    return ExitCode.COMPLETE


def _tell(written: list[ExportedFile]) -> None:
    shown = table("series", "exchange", "file", "candles", "MB", left=3)
    for file in written:
        shown.add_row(
            str(file.series), file.series.exchange, str(file.path), f"{file.candles:,}", f"{file.bytes / 1e6:,.1f}"
        )
    console.print(shown)


def _plain(file: ExportedFile) -> dict[str, object]:
    return {
        **plain_series(file.series),
        "path": str(file.path),
        "candles": file.candles,
        "bytes": file.bytes,
    }
