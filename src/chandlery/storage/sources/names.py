"""Which series a file holds, where its name says so: ``BTC-USDT_1m.csv``, ``okx_BTC-USDT-SWAP_1m_2026-01.csv.gz``."""

from __future__ import annotations

import re

from chandlery.domain.timeframe import TIMEFRAMES, Timeframe

_SYMBOL = re.compile(r"(?=[^-]*[A-Z])[A-Z0-9.]+(-[A-Z0-9._]*[A-Z0-9])+", re.ASCII)
"""A name without a dash, such as BTCUSDT, does not say where its base ends."""

_FOREIGN = {"1mo": "1M", "1Mutc": "1M", "1Wutc": "1w", "1Dutc": "1d", "12Hutc": "12h", "6Hutc": "6h"}


def named_timeframe(word: str) -> Timeframe | None:
    """``1m`` and ``1M`` as they stand, ``1H`` and ``1D`` in either case, ``1mo`` as in our files' names, ``1Dutc``."""
    return TIMEFRAMES.get(_FOREIGN.get(word, word if word[-1:] in "mM" else word.lower()))


def symbol_in(stem: str) -> str | None:
    """The one symbol that a file's name tells, or None for none or several."""
    start, _, last = stem.rpartition("_")
    if named_timeframe(last) and _SYMBOL.fullmatch(start):
        return start
    found = {word for word in stem.split("_") if _SYMBOL.fullmatch(word)}
    return found.pop() if len(found) == 1 else None


def timeframe_in(stem: str) -> Timeframe | None:
    """The one timeframe that a file's name tells, or None for none or several."""
    found = {named_timeframe(word) for word in stem.split("_")} - {None}
    return found.pop() if len(found) == 1 else None
