"""``chandlery import``: candles that others collected, from files and tables into PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chandlery.cli.exits import ExitCode, exit_code_of
from chandlery.cli.options import AsJson, Config, one_timeframe, settings_from
from chandlery.cli.plain import plain_series, plain_span
from chandlery.cli.screen import complain, console, day, moment, note, say, table, write_json

if TYPE_CHECKING:
    from chandlery.services.bulk_import.given import Told
    from chandlery.services.bulk_import.job import SeriesFound, SourceReport
    from chandlery.services.bulk_import.run import Manner
    from chandlery.storage.postgres import PostgreSQLStorage
    from chandlery.storage.sources.archives import Source

EXAMPLES = """
Examples:

  chandlery import data/klines --dry-run

  chandlery import data/klines --verify

  chandlery import BTCUSD.csv.gz --symbol BTC-USD --timeframe 1m --exchange bitfinex --columns time=1,open=2,close=3,high=4,low=5,volume=6

  chandlery import --from-table public.ohlcv_data

The files are only read. Running the same again stores nothing twice.
Exit code: 0 all rows are stored, 1 some were rejected, a file could not be read, or --verify found a difference,
2 usage, 3 database, 130 interrupted.
"""  # noqa: E501

_REASONS_SHOWN = 3


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(name="import", epilog=EXAMPLES)(import_)


def import_(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files (.csv, .csv.gz, .zip), folders, or patterns in quotes.")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="The symbol, where neither name nor column tells it.")] = None,
    timeframe: Annotated[str | None, one_timeframe("The timeframe, where neither name nor column tells it.")] = None,
    exchange: Annotated[str | None, typer.Option(help="Whose candles they are.", show_default="okx")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns with other names, or places: time=ts,open=o,close=5.")
    ] = None,
    time_unit: Annotated[str, typer.Option(help="How times are written: auto, s, ms, us, ns or iso.")] = "auto",
    timezone: Annotated[str, typer.Option(help="Where ISO times without a zone were written.")] = "UTC",
    from_table: Annotated[str | None, typer.Option(help="A table of the database, such as public.ohlcv_data.")] = None,
    from_database: Annotated[
        str | None,
        typer.Option(help="The URL, without a password, of the database that has the table, if it is another."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge and compare; write nothing.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read all back and compare column by column.")] = False,
    json: AsJson = False,
    config: Config = None,
) -> int:
    """Import candles from files or a table: every row is judged, and stored or set aside with the reason."""
    from chandlery.errors import DataValidationError
    from chandlery.services.bulk_import.given import Told, find_sources
    from chandlery.services.bulk_import.run import Manner
    from chandlery.services.opening import open_storage
    from chandlery.storage.config import refuse_password

    if from_database is not None:
        refuse_password(from_database, "--from-database")
    if bool(paths) == bool(from_table):
        raise DataValidationError(
            "files or a table have to be named, and not both.",
            hint="As in: chandlery import data/klines, or: chandlery import --from-table public.ohlcv_data",
        )
    told = Told.of(
        symbol=symbol, timeframe_name=timeframe, exchange=exchange, columns=columns, unit=time_unit, zone=timezone
    )
    sources = find_sources(paths or ())
    manner = Manner(dry_run=dry_run, verify=verify)
    with open_storage(settings_from(config)) as storage, _with_table(storage, from_table, from_database, told) as more:
        return run_import(storage, [*sources, *more], told, manner, as_json=json)


@contextlib.contextmanager
def _with_table(storage: PostgreSQLStorage, name: str | None, url: str | None, told: Told) -> Iterator[list[Source]]:
    from chandlery.storage.sources.tables import table_source

    if name is None:
        yield []
        return
    with table_source(url or storage.database.conninfo, name, told.columns) as source:
        yield [source]


def run_import(
    storage: PostgreSQLStorage, sources: list[Source], told: Told, manner: Manner, *, as_json: bool = False
) -> int:
    """Import with progress on standard error, and tell what became of it; the exit code."""
    from chandlery.cli.progress import RowsLine
    from chandlery.services.bulk_import.run import import_sources, only_error, total

    with RowsLine(len(sources)) as line:
        try:
            reports = import_sources(storage, sources, told, manner, watch=line.show, done=line.finished)
        except KeyboardInterrupt:
            note("Interrupted: what was stored stays. Run the same again to go on.")
            raise
    if as_json:
        write_json({"dry_run": manner.dry_run, "sources": [_plain(report) for report in reports]})
    else:
        _tell(reports, manner)
    error = only_error(reports)
    if error is not None:
        return exit_code_of(error)
    result = total(reports)
    if not as_json:
        verb = "would be stored" if manner.dry_run else "are stored"
        say(f"{result.stored:,} candles {verb}, {result.inserted:,} of them new; {result.rejected:,} rows rejected.")
    return ExitCode.COMPLETE if all(report.complete for report in reports) else ExitCode.INCOMPLETE


def _tell(reports: list[SourceReport], manner: Manner) -> None:
    shown = table(
        "file", "series", "times", "rows", "new", "unchanged", "revised", "rejected", "from", "to", "gaps", left=3
    )
    for report in (report for report in reports if report.error is None):
        shown.add_row(*_row(report))
    if any(report.error is None for report in reports):
        console.print(shown)
    for report in reports:
        _tell_more(report, manner)


def _row(report: SourceReport) -> list[str]:
    from chandlery.storage.sources.moments import NAMES

    result, found = report.result, report.series
    spans = [one.span for one in found if one.span is not None]
    gaps = sum(one.gaps for one in found)
    return [
        report.name,
        str(found[0].series) if len(found) == 1 else f"{len(found)} series",
        NAMES[report.unit] if report.unit else "-",
        *(f"{count:,}" for count in (report.rows, result.inserted, result.unchanged, result.revised, result.rejected)),
        day(min(span.start for span in spans) if spans else None),
        moment(max(span.end for span in spans) if spans else None),
        f"{gaps:,} ({sum(one.missing for one in found):,} bars)" if gaps else "-",
    ]


def _tell_more(report: SourceReport, manner: Manner) -> None:
    """What does not fit into the table: reasons, assumptions, differences, errors."""
    if report.error is not None:
        complain(str(report.error))
        return
    for reason, count in report.reasons.most_common(_REASONS_SHOWN):
        note(f"{report.name}: {count:,} rejected: {reason}")
    if len(report.reasons) > _REASONS_SHOWN:
        kept = "" if manner.dry_run else "; all of them are in the table chandlery.rejected"
        note(f"{report.name}: {len(report.reasons) - _REASONS_SHOWN} more reasons{kept}")
    if report.without_zone:
        note(f"{report.name}: {report.without_zone:,} times name no zone; they were taken as {report.zone}.")
    if report.result.rounded:
        note(f"{report.name}: {report.result.rounded:,} rows have more digits than a double holds, and were rounded.")
    if report.compared is not None:
        differences = ", ".join(f"{what} {count:,}" for what, count in report.differences.items())
        say(f"{report.name}: {report.compared:,} candles compared with what is stored: {differences or 'all equal'}.")


def _plain(report: SourceReport) -> dict[str, Any]:
    result = report.result
    verified = {"compared": report.compared, "differences": dict(report.differences)}
    return {
        "name": report.name,
        "time_unit": report.unit,
        "times_without_zone": report.without_zone,
        "timezone": report.zone,
        "rows": report.rows,
        "inserted": result.inserted,
        "unchanged": result.unchanged,
        "revised": result.revised,
        "rejected": result.rejected,
        "rounded": result.rounded,
        "reasons": dict(report.reasons),
        "series": [_plain_series(found) for found in report.series],
        "verified": None if report.compared is None else verified,
        "error": None if report.error is None else str(report.error),
    }


def _plain_series(found: SeriesFound) -> dict[str, Any]:
    return {
        **plain_series(found.series),
        **plain_span(found.span),
        "gaps": found.gaps,
        "missing_bars": found.missing,
    }
