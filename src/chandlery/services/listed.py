"""The instruments that somebody names, among those that an exchange lists."""

from __future__ import annotations

from collections.abc import Sequence

from chandlery.domain.instrument import Instrument, near_symbols
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
