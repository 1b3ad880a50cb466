"""``chandlery export qlib``: a folder for Qlib, and a judgement of any such folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import AsJson, Config, Exchange, Since, Symbols, Timeframes, Until, settings_from
from chandlery.cli.plain import plain_time
from chandlery.cli.screen import console, moment, note, say, table, write_json

if TYPE_CHECKING:
    from chandlery.domain.instrument import Series
    from chandlery.services.export_qlib import ExportReport
    from chandlery.services.export_qlib.report import SeriesReport

EXAMPLES = """
Examples:

  chandlery export qlib qlib-data

  chandlery export qlib qlib-data BTC-USDT ETH-USDT --timeframe 1h,1d --since 2023-01-01

  chandlery export qlib qlib-data --check

The same command brings the folder up to date. In Qlib: qlib.init(provider_uri="qlib-data", region="us", kernels=1,
trade_unit=None). Frequencies are called 1min ... 60min, 240min, day, 1week, 1month there.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(name="qlib", epilog=EXAMPLES)(qlib)


def qlib(
    folder: Annotated[Path, typer.Argument(help="The folder to make or to bring up to date.")],
    symbols: Symbols = None,
    timeframe: Timeframes = None,
    since: Since = None,
    until: Until = None,
    exchange: Exchange = None,
    check: Annotated[bool, typer.Option("--check", help="Only judge the folder, whoever made it.")] = False,
    json: AsJson = False,
    config: Config = None,
) -> int:
    """Export candles into the folder format of Qlib: written aside, read back, compared, then swapped in."""
    if check:
        return _check(folder, as_json=json)
    from chandlery.cli.progress import status_line
    from chandlery.services.export_qlib import Selection, export_qlib
    from chandlery.services.opening import open_storage

    chosen = Selection.parsed(symbols or (), timeframe or (), since, until, exchange)
    with open_storage(settings_from(config)) as storage, status_line(_described) as show:
        report = export_qlib(storage, folder, chosen, show)
    if json:
        write_json(_plain(report))
    else:
        draw(report)
    return ExitCode.COMPLETE


def _described(series: Series, done: int, count: int) -> str:
    return f"{done}/{count} series: {series}"


def draw(report: ExportReport) -> None:
    """Print a line a series, what became of the folder, and what float32 cost."""
    shown = table("series", "freq", "first", "last", "candles", "gaps", "missing", left=4)
    for row in report.series:
        shown.add_row(
            f"{row.symbol} {row.timeframe}",
            row.freq,
            moment(row.first),
            moment(row.last),
            f"{row.candles:,}",
            f"{row.gaps:,}",
            f"{row.missing:,}",
        )
    console.print(shown)
    outcome = f"{report.outcome}: {report.why}" if report.why else report.outcome
    say(f"{report.folder}: {outcome}. {report.candles:,} candles, {report.files:,} files, {report.size / 1e6:,.1f} MB.")
    worst = ", ".join(f"{name} {error:.1e}" for name, error in report.losses.worst.items() if error)
    note(f"All values were read back and equal the database. Qlib keeps float32; largest relative error: {worst}.")
    if any(row.missing for row in report.series):
        note("Missing bars are NaN. Which of them were never collected: chandlery status")
    for warning in report.warnings:
        note(warning)


def _plain(report: ExportReport) -> dict[str, Any]:
    return {
        "folder": str(report.folder),
        "outcome": report.outcome,
        "why": report.why,
        "candles": report.candles,
        "files": report.files,
        "bytes": report.size,
        "largest_relative_error": report.losses.worst,
        "warnings": report.warnings,
        "series": [_plain_series(row) for row in report.series],
    }


def _plain_series(row: SeriesReport) -> dict[str, Any]:
    return {
        "exchange": row.exchange,
        "symbol": row.symbol,
        "timeframe": row.timeframe,
        "freq": row.freq,
        "first": plain_time(row.first),
        "last": plain_time(row.last),
        "candles": row.candles,
        "gaps": row.gaps,
        "missing_bars": row.missing,
        "without_turnover": row.without_turnover,
    }


def _check(folder: Path, *, as_json: bool) -> int:
    """Judge a folder; exit code 1 if Qlib would fail on it or show something wrong."""
    from dataclasses import asdict

    from chandlery.services.export_qlib.checking import check_folder

    findings = check_folder(folder)
    errors = sum(finding.level == "error" for finding in findings)
    if as_json:
        write_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            say(f"{finding.level}: {finding.where}: {finding.what}")
        say(f"{folder}: {errors} errors, {len(findings) - errors} warnings.")
    return ExitCode.INCOMPLETE if errors else ExitCode.COMPLETE
