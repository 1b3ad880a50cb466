"""``chandlery check``: is what is stored complete, consistent and plausible?"""

from __future__ import annotations

import contextlib
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from chandlery.cli.check_file import check_file, file_among
from chandlery.cli.exits import ExitCode
from chandlery.cli.options import (
    AsJson,
    BaseUrl,
    Config,
    CsvFolder,
    Since,
    Timeframes,
    UntilMoment,
    configured,
    settings_from,
    several,
)
from chandlery.cli.screen import note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chandlery.cli.check_report import Repaired
    from chandlery.domain.instrument import Series
    from chandlery.domain.quality import Severity
    from chandlery.errors import DataNotFoundError
    from chandlery.services.check import Repair, Report, Scope, Shelf
    from chandlery.services.outputs import Output
    from chandlery.settings import Settings

EXAMPLES = """
Examples:

  chandlery check

  chandlery check BTC-USDT --timeframe 1m,1h --since 2024-01-01 --fail-on warning

  chandlery check --repair

  chandlery check --output csv --csv-folder data/klines --json

  chandlery check candles.csv.gz --timeframe 1m --columns timestamp,open,close,high,low,volume

Exit code: 0 nothing at or above --fail-on, 1 something, 2 usage, 3 database, 4 exchange. docs/quality.md explains
every rule.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(check)


def check(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(help="Only these symbols: BTC-USDT ETH-USDT. Or one CSV file.", show_default="all"),
    ] = None,
    timeframe: Timeframes = None,
    since: Since = None,
    until: UntilMoment = None,
    fail_on: Annotated[str, typer.Option(help="The least severity that fails: error, warning or info.")] = "error",
    repair: Annotated[bool, typer.Option("--repair", help="Fetch again what is missing or suspicious.")] = False,
    compare_exchange: Annotated[
        int, typer.Option(min=0, help="Ask the exchange for so many bars of each series, and compare.")
    ] = 0,
    columns: Annotated[str | None, typer.Option(help="The columns of a file without a header, in order.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Check the candles in postgres or in csv.", show_default=configured("data.output", "postgres")
        ),
    ] = None,
    csv_folder: CsvFolder = None,
    base_url: BaseUrl = None,
    json: AsJson = False,
    config: Config = None,
) -> int:
    """Find gaps, broken rows, quiet runs, outages, price jumps and contradictions; see docs/quality.md."""
    from chandlery.cli.check_report import draw, plain
    from chandlery.cli.screen import write_json

    settings = settings_from(
        config,
        data_collection__timeframes=timeframe and ",".join(timeframe),
        data_collection__since=since,
        data_collection__until=until,
        data_collection__base_url=base_url,
        data__output=output,
        data__csv_folder=csv_folder,
    )
    least = _severity(fail_on)
    file = file_among(symbols or ())
    scope = _scope(settings, [] if file else several(symbols) or [], timeframe, since, until)
    repaired: Repaired | None = None
    if file:
        _refuse(bool(repair or compare_exchange), "--repair and --compare-exchange are for stores, not for a file")
        _refuse(len(symbols or ()) > 1, "one file at a time")
        report = check_file(file, scope, columns)
    else:
        _refuse(columns is not None, "--columns is for a CSV file")
        report, repaired = _check_store(settings, scope, compare_exchange, repair)
    if json:
        write_json(plain(report, repaired))
    else:
        draw(report, repaired)
    if repaired is not None and repaired.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.INCOMPLETE if report.worst is not None and report.worst >= least else ExitCode.COMPLETE


def _severity(name: str) -> Severity:
    from chandlery.domain.quality import Severity

    _refuse(name.upper() not in Severity.__members__, f"--fail-on is error, warning or info, not {name!r}")
    return Severity[name.upper()]


def _refuse(wrong: bool, sentence: str) -> None:
    from chandlery.errors import ConfigurationError

    if wrong:
        raise ConfigurationError(f"{sentence}.", hint="Try: chandlery check --help")


def _scope(
    settings: Settings, symbols: list[str], timeframe: list[str] | None, since: str | None, until: str | None
) -> Scope:
    """What was asked for on the command line; what the configuration collects is no bound to what is checked."""
    from chandlery.domain.instrument import canonical_symbol
    from chandlery.domain.timeframe import TIMEFRAMES
    from chandlery.services.check import Scope

    chosen = settings.data_collection
    return Scope(
        symbols=[canonical_symbol(symbol) for symbol in symbols],
        timeframes=[TIMEFRAMES[name] for name in chosen.timeframes] if timeframe else (),
        since=chosen.since_ms if since else None,
        until=chosen.until_ms if until else None,
    )


def _check_store(settings: Settings, scope: Scope, compare: int, repair: bool) -> tuple[Report, Repaired | None]:
    import asyncio

    from chandlery.cli.check_report import Repaired
    from chandlery.services import error_log
    from chandlery.services.check import new_doubts

    error_log.configure(settings.logging)
    with _opened(settings) as (shelf, output):
        look = partial(_look, settings, shelf, scope, compare)
        before = look()
        if not repair:
            return before, None
        done, interrupted = asyncio.run(_repair(settings, shelf, output, before))
        after = before if interrupted else look()
        if new_doubts(before.findings, after.findings):
            more, interrupted = asyncio.run(_repair(settings, shelf, output, after))
            done, after = done + more, after if interrupted else look()
        return after, Repaired(before=before, done=done, interrupted=interrupted)


def _look(settings: Settings, shelf: Shelf, scope: Scope, compare: int) -> Report:
    import asyncio

    from chandlery.services.check import check

    report = check(shelf, scope, lambda: time.time_ns() // 1_000_000, _watch)
    if not report.series:
        raise _nothing_in(settings)
    return asyncio.run(_with_sample(settings, shelf, report, compare)) if compare else report


def _nothing_in(settings: Settings) -> DataNotFoundError:
    """A pipeline must not take a folder that was mistyped for one in which all is well."""
    from chandlery.errors import DataNotFoundError

    if settings.data.output == "csv":
        place, hint = str(settings.data.csv_folder), "Look at --csv-folder, or collect first."
    else:
        place, hint = "the database", "Collect first: chandlery collect BTC-USDT --since 2024-01-01"
    return DataNotFoundError(f"there is nothing to check in {place}.", hint=hint)


async def _with_sample(settings: Settings, shelf: Shelf, report: Report, count: int) -> Report:
    """The report with what a sample of the exchange's own candles adds to it."""
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services import error_log
    from chandlery.services.check import sampled
    from chandlery.services.opening import okx_settings

    async with OkxSource(okx_settings(settings), on_event=error_log.exchange_event) as source:
        found, left_out = await sampled(source, shelf, report, count)
        for series in left_out:
            note(f"{series} of {series.exchange} was not compared: {source.exchange} does not list it.")
    return report.with_findings(found)


async def _repair(settings: Settings, shelf: Shelf, output: Output, report: Report) -> tuple[Repair, bool]:
    from chandlery.cli.progress import ProgressLine
    from chandlery.cli.stopping import stop_on_signals
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services import error_log
    from chandlery.services.check import repair
    from chandlery.services.opening import okx_settings, shared_pace

    interruptions = []
    pace = shared_pace(settings, output)
    async with OkxSource(okx_settings(settings), on_event=error_log.exchange_event, take_slots=pace) as source:
        with ProgressLine() as line:
            done = await repair(
                source,
                output,
                shelf,
                report.findings,
                concurrency=settings.data_collection.concurrency,
                watch=line.show,
                started=lambda collector: interruptions.append(stop_on_signals(collector.stop)),
            )
    return done, any(interruption.is_set() for interruption in interruptions)


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Shelf, Output]]:
    """The store to check, and where a repair goes; where candles go to both, the database is what is checked."""
    from chandlery.services.check import CsvShelf, PostgresShelf
    from chandlery.services.opening import open_storage
    from chandlery.services.outputs import BothOutputs, CsvOutput, PostgresOutput
    from chandlery.storage.csv_files import CsvStore

    store = CsvStore(settings.data.csv_folder)
    if settings.data.output == "csv":
        yield CsvShelf(store), CsvOutput(store)
        return
    with open_storage(settings) as storage:
        storage.require_schema()
        database = PostgresOutput(storage)
        both = settings.data.output == "both"
        yield PostgresShelf(storage), BothOutputs(database, CsvOutput(store)) if both else database


def _watch(series: Series) -> None:
    if sys.stderr.isatty():
        note(f"checking {series}")
