"""``chandlery stream``: store candles as they close."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import (
    BaseUrl,
    Config,
    MetricsHost,
    MetricsPort,
    WantedSymbols,
    WantedTimeframes,
    settings_from,
)
from chandlery.cli.plain import plain_series, plain_span
from chandlery.cli.screen import note, write_json_line

if TYPE_CHECKING:
    from chandlery.services.metrics.measuring import Unmeasured
    from chandlery.settings import Settings
    from chandlery.storage.postgres import PostgreSQLStorage
    from chandlery.storage.writer import Delivery

EXAMPLES = """
Examples:

  chandlery stream BTC-USDT ETH-USDT --timeframe 1m,1h

  chandlery stream BTC-USDT --since 2024-01-01

  chandlery stream BTC-USDT --json | jq .end

  chandlery stream BTC-USDT --metrics-port 9464

It stores candles as they close, reads by REST what the stream did not deliver, and runs until Ctrl-C or SIGTERM.
History before it began is the affair of: chandlery collect.
Exit code: 0 stopped, 2 usage, 3 database, 4 exchange not reached at the start.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(stream)


def stream(
    symbols: WantedSymbols = None,
    timeframe: WantedTimeframes = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Complete each series from this day or time on, UTC, such as 2024-01-31.",
            show_default="its newest stored candle",
        ),
    ] = None,
    base_url: BaseUrl = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    json: Annotated[bool, typer.Option("--json", help="Write a line of JSON for everything stored.")] = False,
    config: Config = None,
) -> int:
    """Store candles as they close: the live stream, healed by REST."""
    settings = settings_from(
        config,
        data_collection__symbols=symbols or None,
        data_collection__timeframes=timeframe and ",".join(timeframe),
        data_collection__base_url=base_url,
        metrics__port=metrics_port,
        metrics__host=metrics_host,
    )
    # what a configuration file says of collecting history is not meant for the stream
    begins = settings_from(config, data_collection__since=since).data_collection.since_ms if since else None
    return run_stream(settings, since_ms=begins, as_json=json)


def run_stream(settings: Settings, *, since_ms: int | None = None, as_json: bool = False) -> int:
    """Stream as the settings say, with a live table on the screen; the exit code."""
    import asyncio

    from chandlery.errors import ConfigurationError
    from chandlery.services import error_log
    from chandlery.services.metrics.measuring import measuring
    from chandlery.services.opening import open_patient_storage

    error_log.configure(settings.logging)
    if not settings.data_collection.symbols:
        raise ConfigurationError(
            "no symbol was given.", hint="Name some, as in: chandlery stream BTC-USDT, or set data_collection.symbols."
        )
    if settings.data.output != "postgres":
        note("The stream goes to PostgreSQL only; data.output is meant for chandlery collect.")
    with measuring(settings) as told, open_patient_storage(settings, told) as storage:
        storage.writer.notify = True
        asyncio.run(_stream(settings, storage, told, since_ms, as_json=as_json))
    return ExitCode.COMPLETE


async def _stream(
    settings: Settings, storage: PostgreSQLStorage, told: Unmeasured, since_ms: int | None, *, as_json: bool
) -> None:
    from chandlery.cli.live_table import LiveTable
    from chandlery.cli.stopping import stop_on_signals
    from chandlery.domain.timeframe import TIMEFRAMES
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services.live.recorder import LiveWanted, Recorder
    from chandlery.services.opening import okx_settings, okx_streaming, shared_pace
    from chandlery.services.outputs import PostgresOutput

    chosen = settings.data_collection
    wanted = LiveWanted(
        symbols=chosen.symbols, timeframes=[TIMEFRAMES[name] for name in chosen.timeframes], since=since_ms
    )
    source: OkxSource
    output = PostgresOutput(storage)
    pace = shared_pace(settings, output)
    async with OkxSource(okx_settings(settings), on_event=told.exchange_event, take_slots=pace) as source:
        told.of_source(source)
        streaming, store = okx_streaming(settings), told.live_store(output)
        recorder = Recorder(source, streaming, store, grace_s=chosen.stream_grace_s)
        told.of_recorder(recorder)
        if as_json:
            recorder.tell(_write_lines)
        async with LiveTable(recorder.progress, shown=not as_json) as shown:
            stop_on_signals(recorder.stop, what="Stopping", tell=shown.note)
            await recorder.run(wanted)


def _write_lines(deliveries: Sequence[Delivery]) -> None:
    for delivery in deliveries:
        batch = delivery.batch
        if batch.span is not None:
            write_json_line(
                {
                    **plain_series(batch.series),
                    **plain_span(batch.span),
                    "candles": len(batch),
                    "close": float(batch.close[-1]),
                }
            )
