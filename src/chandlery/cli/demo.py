"""``chandlery demo``: the main job from end to end, without a network and without a database of one's own."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import typer

from chandlery.cli.options import settings_from
from chandlery.cli.screen import program, say

if TYPE_CHECKING:
    from chandlery.settings import Settings

_SYMBOLS = ("BTC-USDT", "ETH-USDT", "BTC-USDT-SWAP")
_DAYS = 7
_SEED = 1

EXAMPLES = """
Examples:

  chandlery demo

  CHANDLERY_DATA_FOLDER=trial chandlery demo
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(demo)


def demo() -> int:
    """Collect candles from the built-in exchange into an embedded PostgreSQL, and show them.

    The candles are made up. They are kept in a folder of their own beside real ones, so that they never meet.
    """
    from chandlery.cli.collect import run_collection
    from chandlery.simulator import DOCUMENTED_LIMITS, RateLimits, SeededMarket, Simulator

    say("Starting the built-in exchange (made-up prices, OKX's protocol and rate limits) and an embedded PostgreSQL.")
    market = SeededMarket(_SEED)
    with Simulator(market, rate_limits=RateLimits(limits=DOCUMENTED_LIMITS)).run_in_thread() as exchange:
        settings = _settings(exchange.base_url)
        say(f"Collecting {_DAYS} days of {', '.join(_SYMBOLS)} in 1m and 1h. A second run fetches only what is new.\n")
        code = run_collection(settings)
    _show(settings)
    say(
        "\nTo see them in the browser, as a chart:\n\n"
        f"  CHANDLERY_DATA_FOLDER={shlex.quote(str(settings.data.folder))} {program()} serve\n\n"
        "These candles are made up. To do it for real, with a network:\n\n"
        f"  {program()} collect BTC-USDT --timeframe 1m --since 2024-01-01\n\n"
        "and into a server of your own, before that:\n\n"
        "  export CHANDLERY_DATABASE_URL=postgresql://user@host/database"
    )
    return code


def _settings(base_url: str) -> Settings:
    from chandlery.storage.embedded import default_folder

    since = time.time() - _DAYS * 86_400
    return settings_from(
        None,
        data__folder=settings_from(None).data.folder or default_folder() / "demo",
        data__output="postgres",
        data_collection__base_url=base_url,
        data_collection__symbols=_SYMBOLS,
        data_collection__timeframes=("1m", "1h"),
        data_collection__since=time.strftime("%Y-%m-%d", time.gmtime(since)),
    )


def _show(settings: Settings) -> None:
    from chandlery.cli.show import draw
    from chandlery.cli.status import draw as draw_status
    from chandlery.services.opening import open_storage
    from chandlery.services.status import series_status

    with open_storage(settings, exchange="okx-simulated") as storage:
        say("\nThe newest candles of BTC-USDT, as `chandlery show BTC-USDT` prints them:\n")
        draw(storage.get_candles("BTC-USDT", "1m").take(slice(-8, None)))
        say("\nWhat is stored, as `chandlery status` prints it:\n")
        draw_status(series_status(storage, now=time.time_ns() // 1_000_000))
