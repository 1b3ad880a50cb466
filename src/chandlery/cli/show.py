"""``chandlery show``: candles on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chandlery.cli.nothing_stored import nothing_stored, stored_timeframes
from chandlery.cli.options import AsJson, Config, Exchange, Since, Symbol, Timeframe, Until, settings_from
from chandlery.cli.plain import plain_candles
from chandlery.cli.screen import console, moment, note, say, table, write_json

if TYPE_CHECKING:
    from chandlery.domain.candle import CandleBatch
    from chandlery.storage.postgres import PostgreSQLStorage

EXAMPLES = """
Examples:

  chandlery show BTC-USDT

  chandlery show BTC-USDT --timeframe 1h --since 2024-01-01 --until 2024-01-02 --last 0

  chandlery show BTC-USDT --json
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(show)


def show(
    symbol: Symbol,
    timeframe: Timeframe = "1m",
    since: Since = None,
    until: Until = None,
    last: Annotated[int, typer.Option(min=0, help="Only so many of the newest; 0 shows all.")] = 20,
    exchange: Exchange = None,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """Show stored candles, oldest first; what is missing is missing here too."""
    from chandlery.services.opening import open_storage

    with open_storage(settings_from(config), exchange=exchange) as storage:
        batch, total = _read(storage, symbol, timeframe, since, until, last)
        stored = [] if total else stored_timeframes(storage, batch.series)
    if json:
        write_json(plain_candles(batch))
        return
    if not total:
        say(nothing_stored(batch.series, stored, " in that time" if since or until else "", "show"))
        return
    draw(batch)
    shown = "" if total == len(batch) else f" of {total:,}"
    note(f"{len(batch):,}{shown} candles of {batch.series}, {batch.series.exchange}. Times are UTC, the bar's open.")


def _read(
    storage: PostgreSQLStorage, symbol: str, timeframe: str, since: str | None, until: str | None, last: int
) -> tuple[CandleBatch, int]:
    """The candles to show, and how many there are in all."""
    batch = storage.get_candles(symbol, timeframe, since, until)
    return (batch.take(slice(-last, None)) if last else batch), len(batch)


def draw(batch: CandleBatch) -> None:
    """Print candles as a table, oldest first."""
    shown = table("time", "open", "high", "low", "close", "volume", "turnover")
    columns = [column.tolist() for column in batch.columns().values()]
    for time, *values, quote_volume in zip(*columns, strict=True):
        turnover = "-" if quote_volume != quote_volume else f"{quote_volume:,.2f}"
        shown.add_row(moment(time), *(f"{value:.12g}" for value in values), turnover)
    console.print(shown)
