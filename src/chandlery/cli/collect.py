"""``chandlery collect``: fetch what is missing, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chandlery.cli.exits import ExitCode, exit_code_of
from chandlery.cli.options import (
    AsJson,
    BaseUrl,
    Config,
    CsvFolder,
    MetricsFile,
    MetricsHost,
    MetricsPort,
    WantedSince,
    WantedSymbols,
    WantedTimeframes,
    WantedUntil,
    complete_timeframes,
    configured,
    settings_from,
)
from chandlery.cli.plain import plain_series, plain_span, plain_spans
from chandlery.cli.screen import complain, day, duration, moment, names, note, say, table, write_json

if TYPE_CHECKING:
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services.collect import SeriesReport, Wanted
    from chandlery.services.metrics.measuring import Unmeasured
    from chandlery.services.outputs import Output
    from chandlery.settings import Settings

EXAMPLES = """
Examples:

  chandlery collect BTC-USDT --timeframe 1m --since 2024-01-01

  chandlery collect BTC-USDT ETH-USDT BTC-USDT-SWAP --timeframe 1m,1h,1d

  chandlery collect BTC-USDT --timeframe 1m,5m,1h,1d --from 1m --since 2024-01-01

  chandlery collect BTC-USDT --since 2024-01-01 --until 2024-01-31 --output both

  chandlery collect BTC-USDT --since 2025-01-01 --until 2025-06-30 --bulk only

  chandlery collect BTC-USDT --timeframe 1m,1h --follow 60s

  chandlery collect BTC-USDT --timeframe 1m,1h --follow 60s --metrics-port 9464

Symbols are OKX's names; ccxt's, such as ETH/USDT:USDT, are understood. Several stand apart or between commas.
A second run fetches only what is new or missing. Ctrl-C stops cleanly; the next run goes on from there.
Exit code: 0 complete, or a --follow that was stopped, 1 incomplete, 2 usage, 3 database, 4 exchange, 130 interrupted.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(collect)


def collect(
    symbols: WantedSymbols = None,
    timeframe: WantedTimeframes = None,
    roll_up_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            autocompletion=complete_timeframes,
            help="Make coarser candles of this timeframe's, where it is stored whole.",
            show_default=configured("data_collection.roll_up_from", "none"),
        ),
    ] = None,
    since: WantedSince = None,
    until: WantedUntil = None,
    bulk: Annotated[
        str | None,
        typer.Option(
            help="Files of 1m candles: auto (where they save requests), never, or only.",
            show_default=configured("data_collection.bulk", "auto"),
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help="Where to: postgres, csv or both.", show_default=configured("data.output", "postgres")),
    ] = None,
    csv_folder: CsvFolder = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            help="How many series at once, 1 to 32.", show_default=configured("data_collection.concurrency", "4")
        ),
    ] = None,
    follow: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Go on until stopped, a round each TIME: 60s, 5m, 1h.",
            show_default=configured("data_collection.follow_s", "none"),
        ),
    ] = None,
    base_url: BaseUrl = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    metrics_file: MetricsFile = None,
    json: AsJson = False,
    config: Config = None,
) -> int:
    """Collect candles: what is wanted and not yet stored, nothing else."""
    settings = settings_from(
        config,
        data_collection__symbols=symbols or None,
        data_collection__timeframes=timeframe and ",".join(timeframe),
        data_collection__roll_up_from=roll_up_from,
        data_collection__since=since,
        data_collection__until=until,
        data_collection__bulk=bulk,
        data_collection__concurrency=concurrency,
        data_collection__follow_s=follow,
        data_collection__base_url=base_url,
        data__output=output,
        data__csv_folder=csv_folder,
        metrics__port=metrics_port,
        metrics__host=metrics_host,
        metrics__file=metrics_file,
    )
    return run_collection(settings, as_json=json)


def run_collection(settings: Settings, *, as_json: bool = False) -> int:
    """Collect as the settings say, with progress on the screen; the exit code."""
    import asyncio

    from chandlery.errors import ConfigurationError
    from chandlery.services import error_log
    from chandlery.services.metrics.measuring import measuring
    from chandlery.services.opening import open_output

    if not settings.data_collection.symbols:
        raise ConfigurationError(
            "no symbol was given.", hint="Name some, as in: chandlery collect BTC-USDT, or set data_collection.symbols."
        )
    if settings.data_collection.follow_s:
        from chandlery.cli.following import run_following

        return run_following(settings, settings.data_collection.follow_s, as_json=as_json)
    error_log.configure(settings.logging)
    with measuring(settings) as told, open_output(settings, told) as output:
        try:
            reports, requests, interrupted = asyncio.run(_collect(settings, output, told))
        except KeyboardInterrupt:
            output.give_up()  # or the exit would wait for threads that wait for the store
            raise
    if as_json:
        write_json({"requests": requests, "interrupted": interrupted, "series": [plain_report(r) for r in reports]})
    else:
        _tell(reports)
        say(_outcome(reports, requests, interrupted, settings.data_collection.bulk))
    return _exit_code(reports, interrupted)


def wanted_of(settings: Settings) -> Wanted:
    """What the settings say to collect."""
    from chandlery.domain.timeframe import TIMEFRAMES
    from chandlery.services.collect import Bulk, Wanted

    chosen = settings.data_collection
    return Wanted(
        symbols=chosen.symbols,
        timeframes=[TIMEFRAMES[name] for name in chosen.timeframes],
        since=chosen.since_ms,
        until=chosen.until_ms,
        bulk=Bulk(chosen.bulk),
        roll_up_from=TIMEFRAMES[chosen.roll_up_from] if chosen.roll_up_from else None,
    )


async def _collect(settings: Settings, output: Output, told: Unmeasured) -> tuple[list[SeriesReport], int, bool]:
    from chandlery.cli.progress import ProgressLine
    from chandlery.cli.stopping import stop_on_signals
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services.collect import Collector
    from chandlery.services.opening import okx_settings, shared_pace

    wanted = wanted_of(settings)
    source: OkxSource
    pace = shared_pace(settings, output)
    async with OkxSource(okx_settings(settings), on_event=told.exchange_event, take_slots=pace) as source:
        told.of_source(source)
        with ProgressLine() as line:
            collector = Collector(source, output, concurrency=settings.data_collection.concurrency, watch=line.show)
            interrupted = stop_on_signals(collector.stop)
            reports = await collector.run(wanted)
        return reports, sum(source.requests.values()), interrupted.is_set()


def _tell(reports: list[SeriesReport]) -> None:
    from chandlery.cli.screen import console

    counted = [name for name in ("unchanged", "revised", "rejected") if any(getattr(r.result, name) for r in reports)]
    derived = ["derived"] if any(report.derived for report in reports) else []
    filed = ["from files"] if any(report.from_files for report in reports) else []
    shown = table("series", "from", "to", "new", *filed, *derived, *counted, "missing", left=3)
    for report in reports:
        span = report.wanted
        missing = duration(report.missing.length / 1000) if report.missing else "-"
        shown.add_row(
            str(report.series),
            day(span.start if span else None),
            moment(span.end if span else None),
            f"{report.result.inserted:,}",
            *(f"{report.from_files:,}" for _ in filed),
            *(f"{report.derived:,}" for _ in derived),
            *(f"{getattr(report.result, name):,}" for name in counted),
            missing if report.finished else "not looked at",
        )
    console.print(shown)
    for report in reports:
        if report.error is not None:
            complain(f"{report.series}: {report.error}")
    rejected = sum(report.result.rejected for report in reports)
    if rejected:
        note(f"{rejected:,} rows broke a rule and were set aside: see the table chandlery.rejected.")


def _outcome(reports: list[SeriesReport], requests: int, interrupted: bool, bulk: str) -> str:
    """How it ended, and the next step: the same again only where that can help."""
    if interrupted:
        return (
            f"Interrupted after {requests:,} requests; everything shown as new is stored. Run the same again to go on."
        )
    if all(report.complete for report in reports):
        return f"Complete: nothing is missing. {requests:,} requests."
    return " ".join([f"Incomplete after {requests:,} requests.", *_next_steps(reports, bulk)])


def _next_steps(reports: list[SeriesReport], bulk: str) -> Iterator[str]:
    again = [report for report in reports if report.worth_repeating]
    if bulk == "only" and any(report.error is None for report in again):
        yield "The files have no more so far; --bulk auto fetches the rest as pages."
        again = [report for report in again if report.error is not None]
    if again:
        yield "Run the same again to fetch what is missing."
    hopeless = [report.series for report in reports if not (report.complete or report.worth_repeating)]
    if hopeless:
        yield f"Repeating it brings nothing of {names(hopeless)}: the error says why."


def plain_report(report: SeriesReport) -> dict[str, Any]:
    """How one series came out, for JSON."""
    result = report.result
    return {
        **plain_series(report.series),
        **plain_span(report.wanted),
        "inserted": result.inserted,
        "from_files": report.from_files,
        "derived": report.derived,
        "unchanged": result.unchanged,
        "revised": result.revised,
        "rejected": result.rejected,
        "missing": plain_spans(report.missing),
        "complete": report.complete,
        "error": str(report.error) if report.error else None,
    }


def _exit_code(reports: list[SeriesReport], interrupted: bool) -> ExitCode:
    if interrupted:
        return ExitCode.INTERRUPTED
    errors = [report.error for report in reports if report.error is not None]
    if errors and len(errors) == len(reports):
        return exit_code_of(errors[0])
    return ExitCode.COMPLETE if all(report.complete for report in reports) else ExitCode.INCOMPLETE
