"""Instruments and series: what is traded, under which names people know it.

The exchange's own symbol is the name: ``BTC-USDT`` is spot, ``BTC-USDT-SWAP`` a perpetual swap, ``BTC-USDT-250808``
a dated future. The spellings of general exchange libraries (``BTC/USDT``, ``BTC/USDT:USDT``) are understood on input.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.errors import DataValidationError

MAX_SYMBOL_LENGTH = 64
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9_.]*(-[A-Z0-9_.]+)*", re.ASCII)
_SLASHED = re.compile(
    r"(?P<base>[A-Z0-9_.]+)/(?P<quote>[A-Z0-9_.]+)(:(?P<settle>[A-Z0-9_.]+)(-(?P<expiry>\d{6}))?)?", re.ASCII
)


class Kind(StrEnum):
    """What sort of contract an instrument is."""

    SPOT = "spot"
    SWAP = "swap"
    FUTURES = "futures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable instrument as its exchange describes it.

    ``tick_size`` and ``lot_size`` are the smallest steps of price and amount, as the exchange's exact decimal text;
    ``contract_value`` is how much of the underlying one contract is worth, None for spot. ``listed_at`` and
    ``expires_at`` are UTC milliseconds, None where the exchange names none. ``state`` is the exchange's word: ``live``,
    ``suspend``, ``preopen``...
    """

    exchange: str
    symbol: str
    kind: Kind
    base: str
    quote: str
    settle: str = ""
    tick_size: str = ""
    lot_size: str = ""
    contract_value: float | None = None
    listed_at: UtcMs | None = None
    expires_at: UtcMs | None = None
    state: str = "live"


@dataclass(frozen=True, slots=True)
class Series:
    """All candles of one instrument in one timeframe: the unit of collecting, locking and coverage."""

    exchange: str
    symbol: str
    timeframe: Timeframe

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe}"


def canonical_symbol(text: str) -> str:
    """The exchange's spelling of a symbol that a person typed.

    ``BTC/USDT`` gives ``BTC-USDT``, ``BTC/USDT:USDT`` gives ``BTC-USDT-SWAP``, ``BTC/USDT:USDT-250808`` gives
    ``BTC-USDT-250808``; lower case is accepted. Raises DataValidationError for text that can be no symbol at all.
    """
    if not isinstance(text, str):
        raise DataValidationError(f"a symbol is text such as 'BTC-USDT', not {type(text).__name__}.")
    upper = text.strip().upper()
    slashed = _SLASHED.fullmatch(upper)
    if slashed:
        suffix = slashed["expiry"] or ("SWAP" if slashed["settle"] else "")
        upper = "-".join(part for part in (slashed["base"], slashed["quote"], suffix) if part)
    if len(upper) > MAX_SYMBOL_LENGTH or not _SYMBOL.fullmatch(upper):
        raise DataValidationError(
            f"{text[:80]!r} is not a symbol.",
            hint="Use the exchange's name, such as BTC-USDT or BTC-USDT-SWAP, or BTC/USDT, BTC/USDT:USDT.",
        )
    return upper


def slashed_symbol(symbol: str) -> str:
    """The spelling of general exchange libraries, ``BTC/USDT:USDT`` for ``BTC-USDT-SWAP``: back from canonical_symbol.

    A contract in ``USD`` is settled in the coin itself, every other one in its quote currency. A symbol of one word
    stays as it is.
    """
    base, *rest = symbol.split("-")
    if not rest:
        return symbol
    quote, *contract = rest
    if not contract:
        return f"{base}/{quote}"
    expiry = "" if contract == ["SWAP"] else "-" + "-".join(contract)
    return f"{base}/{quote}:{base if quote == 'USD' else quote}{expiry}"


def near_symbols(symbol: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to ``count`` known symbols that look most like ``symbol``, best first."""
    return difflib.get_close_matches(symbol, list(known), n=count, cutoff=0.5)
