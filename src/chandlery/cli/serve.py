"""``chandlery serve``: a chart and a coverage map in the browser."""

from __future__ import annotations

import secrets
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from chandlery.cli.exits import ExitCode
from chandlery.cli.options import Config, MetricsHost, MetricsPort, configured, settings_from
from chandlery.cli.screen import note, say

if TYPE_CHECKING:
    from chandlery.setting_sections import ServeSettings
    from chandlery.storage.postgres import PostgreSQLStorage

EXAMPLES = """
Examples:

  chandlery serve

  chandlery serve --port 0

  CHANDLERY_SERVE_TOKEN=$(cat token.txt) chandlery serve --host 0.0.0.0

It only reads, and runs until Ctrl-C or SIGTERM. Whoever is not on this machine needs the token: the one of the
setting serve.token, which never stands on the command line, or else one that is made and shown.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(serve)


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on.", show_default=configured("serve.host", "127.0.0.1")),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="The port; 0 takes any free one.",
            show_default=configured("serve.port", "8400"),
        ),
    ] = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    config: Config = None,
) -> int:
    """Show charts, coverage and the state of collection in the browser."""
    import asyncio

    from chandlery.services.metrics.measuring import measuring
    from chandlery.services.opening import open_reading_storage

    settings = settings_from(
        config, serve__host=host, serve__port=port, metrics__port=metrics_port, metrics__host=metrics_host
    )
    with measuring(settings) as told, open_reading_storage(settings) as storage, told.of_storage(storage):
        asyncio.run(_serve(storage, settings.serve))
    return ExitCode.COMPLETE


async def _serve(storage: PostgreSQLStorage, chosen: ServeSettings) -> None:
    import asyncio

    from chandlery.web.access import is_loopback
    from chandlery.web.server import ServeOptions, serving

    token = chosen.token.get_secret_value() if chosen.token else None
    made = token is None and not is_loopback(chosen.host)
    if made:
        token = secrets.token_urlsafe(32)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    options = ServeOptions(host=chosen.host, port=chosen.port, token=token, names=chosen.names)
    async with serving(storage, options) as address:
        say(f"Open {address}{f'/login?token={token}' if made else ''} in a browser (Ctrl-C stops it).")
        if not is_loopback(chosen.host):
            note("What it sends is not encrypted: beyond a network you trust, put it behind a proxy that speaks TLS.")
        await stop.wait()
