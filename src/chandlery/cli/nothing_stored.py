"""What ``show`` and ``chart`` say where there is nothing to show: which timeframes are stored instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chandlery.domain.instrument import Series
    from chandlery.storage.postgres import PostgreSQLStorage


def stored_timeframes(storage: PostgreSQLStorage, like: Series) -> list[str]:
    """The timeframes in which candles of the same instrument are stored, shortest first."""
    from chandlery.domain.timeframe import TIMEFRAMES

    held = [entry.series for entry in storage.ledger.entries() if entry.held]
    bars = [one.timeframe for one in held if (one.exchange, one.symbol) == (like.exchange, like.symbol)]
    return [name for name, bar in TIMEFRAMES.items() if bar in bars]


def nothing_stored(series: Series, stored: list[str], when: str, command: str) -> str:
    """That no candle is stored ``when`` it was asked for, or at all, and what to type next."""
    sentence = f"No candles of {series} are stored{when}."
    if not stored or series.timeframe.name in stored:
        return f"{sentence} See which are: chandlery status {series.symbol}"
    # somebody who names no timeframe means the minutes, which need not be there
    example = f"chandlery {command} {series.symbol} --timeframe {stored[0]}"
    return f"{sentence} Stored are {', '.join(stored)}. Try: {example}"
