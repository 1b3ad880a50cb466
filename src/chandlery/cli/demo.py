"""``chandlery demo``: the main job from end to end, without a network and without a database of one's own."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING

import typer

from chandlery.cli.options import settings_from
from chandlery.cli.screen import program, say

if TYPE_CHECKING:
    from pathlib import Path

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

    The candles are made up. They are kept in the folder demo below your data folder (data.folder), so that they never
    meet real ones. Nothing else that is configured counts here: a database of yours is not touched.
    """
    from chandlery.cli.collect import run_collection
    from chandlery.simulator import DOCUMENTED_LIMITS, RateLimits, SeededMarket, Simulator

    say("Starting the built-in exchange (made-up prices, OKX's protocol and rate limits) and an embedded PostgreSQL.")
    market = SeededMarket(_SEED)
    configured = settings_from(None)
    folder = _folder(configured)
    with Simulator(market, rate_limits=RateLimits(limits=DOCUMENTED_LIMITS)).run_in_thread() as exchange:
        settings = _settings(exchange.base_url, folder)
        say(f"Collecting {_DAYS} days of {', '.join(_SYMBOLS)} in 1m and 1h. A second run fetches only what is new.\n")
        code = run_collection(settings)
    _show(settings)
    say(
        "\nTo see them in the browser, as a chart:\n\n"
        f"  {_variables(configured, folder)} {program()} serve\n\n"
        "These candles are made up. To do it for real, with a network:\n\n"
        f"  {program()} collect BTC-USDT --timeframe 1m --since 2024-01-01\n\n"
        "and into a server of your own, before that:\n\n"
        "  export CHANDLERY_DATABASE_URL=postgresql://user@host/database"
    )
    return code


def _folder(configured: Settings) -> Path:
    from chandlery.storage.embedded import default_folder

    return (configured.data.folder or default_folder()) / "demo"


def _settings(base_url: str, folder: Path) -> Settings:
    """Made from nothing that is configured, or made-up candles could go into somebody's own database."""
    from datetime import UTC, datetime, timedelta

    from chandlery.setting_sections import CollectionSettings, DataSettings
    from chandlery.settings import Settings

    since = (datetime.now(UTC) - timedelta(days=_DAYS)).date()
    return Settings(
        data=DataSettings(folder=folder),
        data_collection=CollectionSettings(base_url=base_url, symbols=_SYMBOLS, timeframes=("1m", "1h"), since=since),
    )


def _variables(configured: Settings, folder: Path) -> str:
    """What makes a command find the demo's candles, also where a database is configured, which comes before folders."""
    from chandlery.setting_sources import CONFIG_VARIABLE, config_file

    given = {"CHANDLERY_DATA_FOLDER": str(folder)}
    if not configured.database.embedded:
        # an empty variable counts as not set, but nothing empties what a file says, except another file
        given |= {name: "" for name in sorted(os.environ) if name.startswith("CHANDLERY_DATABASE_")}
        if config_file(None, os.environ) is not None:
            nothing = folder / "settings.json"
            nothing.write_text("{}\n")
            given[CONFIG_VARIABLE] = str(nothing)
    return " ".join(f"{name}={value and shlex.quote(value)}" for name, value in given.items())


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
