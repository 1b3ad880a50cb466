"""``chandlery chart``: candles in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chandlery.cli.nothing_stored import nothing_stored, stored_timeframes
from chandlery.cli.options import AsJson, Config, Exchange, Symbol, Timeframe, Until, settings_from
from chandlery.cli.plain import plain_candles
from chandlery.cli.screen import console, moment, note, say, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from chandlery.domain.candle import CandleBatch

EXAMPLES = """
Examples:

  chandlery chart BTC-USDT --timeframe 1h

  chandlery chart BTC-USDT --until 2024-01-31 --height 30

  chandlery chart BTC-USDT --timeframe 1d --width 120 --ascii
"""

_WIDTH, _HEIGHT = 100, 28
"""Where there is no window to fit."""

_STYLES = {"up": "green", "down": "red", "gap": "yellow", "axis": "dim"}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=EXAMPLES)(chart)


def chart(
    symbol: Symbol,
    timeframe: Timeframe = "1m",
    until: Until = None,
    width: Annotated[
        int | None, typer.Option(min=30, max=1_000, help="In characters.", show_default="fits the window")
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=8, max=500, help="In lines.", show_default="fits the window")
    ] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with plain characters only.")] = False,
    exchange: Exchange = None,
    json: AsJson = False,
    config: Config = None,
) -> None:
    """Draw the newest candles in the terminal; gaps stay gaps."""
    from chandlery.services.drawing.characters import room_for_candles

    columns = width or (console.width if console.is_terminal else _WIDTH)
    candles, stored = _read(symbol, timeframe, until, exchange, config, room_for_candles(columns))
    if json:
        write_json(plain_candles(candles))
    elif len(candles):
        _draw(candles, columns, height or _window_height(), plain=ascii_only or not _is_utf8())
        note(f"{len(candles):,} candles of {candles.series}, {candles.series.exchange}. Times are UTC, the bar's open.")
    else:
        say(nothing_stored(candles.series, stored, " up to then" if until else "", "chart"))


def _read(
    symbol: str, timeframe: str, until: str | None, exchange: str | None, config: Path | None, count: int
) -> tuple[CandleBatch, list[str]]:
    """As many of the newest candles as fit, a hole taking room too; without any, the timeframes that are stored."""
    from chandlery.services.browsing.window import window
    from chandlery.services.opening import open_storage
    from chandlery.storage.intake.bounds import parse_bound

    with open_storage(settings_from(config), exchange=exchange) as storage:
        series = storage.stored_series(symbol, timeframe)
        end = None if until is None else parse_bound(until, "end") + 1
        candles = window(storage, series, count, end=end).candles
        if not len(candles):
            return candles, stored_timeframes(storage, series)
    return candles.take(candles.open_time >= series.timeframe.shift(int(candles.open_time[-1]), 1 - count)), []


def _draw(candles: CandleBatch, width: int, height: int, *, plain: bool) -> None:
    from rich.text import Text

    from chandlery.services.drawing.characters import ASCII, BLOCKS, drawn, room_for_candles
    from chandlery.services.drawing.slots import Slots

    slots = Slots.newest(candles, room_for_candles(width))
    last = f"{candles.close[-1]:.12g}"
    say(f"{candles.series}   {moment(int(candles.open_time[-1]))} UTC   close {last}")
    for line in drawn(slots, width, height, ASCII if plain else BLOCKS):
        console.print(Text.assemble(*((text, _STYLES[kind]) for text, kind in line)), no_wrap=True, overflow="crop")


def _window_height() -> int:
    return max(8, console.height - 4) if console.is_terminal else _HEIGHT


def _is_utf8() -> bool:
    return "utf" in (console.encoding or "").lower()
