"""``chandlery simulate``: an exchange on this machine that speaks OKX's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chandlery.cli.options import one_timeframe
from chandlery.cli.screen import say

EXAMPLES = """
Examples:

  chandlery simulate

  chandlery simulate candles/BTC-USDT_1m.csv --port 8080

  chandlery simulate --seed 7 --fault-rate 0.05

  chandlery simulate --start-at 2024-01-01 --speed 60 --missing-confirms 0.01

Then, in another terminal: chandlery collect BTC-USDT --base-url http://127.0.0.1:PORT --since 2024-01-01
It pushes candles as well, at ws://127.0.0.1:PORT/ws/v5/business, with a close a second at --speed 60.
Its candles are stored under the exchange name okx-simulated, apart from real ones.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(simulate)


def simulate(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Candles to replay: Parquet, Feather or CSV. None: a made-up market.")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="The symbol, where a file's name does not tell it.")] = None,
    timeframe: Annotated[str | None, one_timeframe("The timeframe, where a file's name does not tell it.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes another market.")] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes any free one.")] = 0,
    start_at: Annotated[
        str | None, typer.Option(help="Let its clock start at this time, such as 2024-01-01.", show_default="now")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.0, help="Simulated seconds a second.")] = 1.0,
    limits: Annotated[bool, typer.Option(help="Refuse requests over the documented rate limits.")] = True,
    fault_rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="The share of requests that meet a fault.")] = 0.0,
    fault_seed: Annotated[int, typer.Option(help="Another seed, other faults.")] = 0,
    missing_confirms: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The share of closing pushes of the stream that never come.")
    ] = 0.0,
) -> None:
    """Serve an exchange on this machine until Ctrl-C."""
    from chandlery.simulator import run_simulator
    from chandlery.storage.intake.bounds import parse_bound

    run_simulator(
        files=files or (),
        symbol=symbol,
        timeframe=timeframe,
        seed=seed,
        host=host,
        port=port,
        start_at=None if start_at is None else parse_bound(start_at, "start"),
        speed=speed,
        rate_limits=limits,
        fault_rate=fault_rate,
        fault_seed=fault_seed,
        missing_confirms=missing_confirms,
        on_ready=lambda base_url: say(f"The simulated exchange listens at {base_url} (Ctrl-C stops it)."),
    )
