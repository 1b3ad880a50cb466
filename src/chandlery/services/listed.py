"""The instruments that somebody names, among those that an exchange lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from chandlery.domain.instrument import Instrument, Series, near_symbols
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import Timeframe
from chandlery.errors import DataNotFoundError


def chosen(symbols: Sequence[str], listed: Sequence[Instrument], exchange: str) -> list[Instrument]:
    """The instruments of ``symbols``, each once, in the order asked for.

    Raises DataNotFoundError for a symbol that is not listed, naming near ones.
    """
    by_symbol = {instrument.symbol: instrument for instrument in listed}
    for symbol in symbols:
        if symbol not in by_symbol:
            near = near_symbols(symbol, by_symbol)
            hint = f"Did you mean {' or '.join(near)}?" if near else ""
            raise DataNotFoundError(f"{exchange} does not list {symbol}.", hint=hint)
    return [by_symbol[symbol] for symbol in dict.fromkeys(symbols)]


async def delisted(
    symbols: Sequence[str],
    timeframes: Sequence[Timeframe],
    listed: Sequence[Instrument],
    exchange: str,
    covered: Callable[[Series], Awaitable[Spans]],
) -> list[Series]:
    """The series of symbols that are not listed but were once, for ``covered`` has spans of them.

    An expired future must not keep all the others from being stored; a symbol that was never there is a mistake.
    """
    there = {instrument.symbol for instrument in listed}
    absent = [symbol for symbol in dict.fromkeys(symbols) if symbol not in there]
    series = [Series(exchange, symbol, timeframe) for symbol in absent for timeframe in timeframes]
    known = {one.symbol for one in series if await covered(one)}
    return [one for one in series if one.symbol in known]


def not_listed_any_more(series: Series) -> DataNotFoundError:
    """What there is to say of one of ``delisted``."""
    return DataNotFoundError(
        f"{series.exchange} does not list {series.symbol} any more.",
        hint="What is stored stays; leave the symbol out from now on.",
    )
