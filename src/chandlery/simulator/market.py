"""What the simulated exchange trades: the Market protocol, and the candles that a market shows at a given time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from chandlery.domain.candle import COLUMNS, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.simulator.bars import Bar, utc_bar
from chandlery.simulator.listings import EXCHANGE, Listing


class Market(Protocol):
    """A complete past and future of prices; the clock decides how much of it shows."""

    @property
    def listings(self) -> Mapping[str, Listing]:
        """The instruments by symbol."""
        ...

    @property
    def ends_at(self) -> UtcMs | None:
        """When its last candle closes, UTC milliseconds, or None if it has no end."""
        ...

    def finest(self, symbol: str) -> Timeframe:
        """The finest timeframe it has of ``symbol``; all coarser candles are made of these."""
        ...

    def newest(self, symbol: str, bar: Bar, span: Span, count: int) -> CandleRows:
        """The newest ``count`` candles that open in ``span``, ascending, as they are when they have closed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chart:
    """Candles as they show at one moment, ascending; ``running`` tells that the last one is still open."""

    rows: CandleRows
    running: bool


def chart(market: Market, symbol: str, bar: Bar, window: Span, count: int, *, now: UtcMs, running: bool) -> Chart:
    """The newest ``count`` candles that open in ``window`` and show at ``now``.

    With ``running`` the candle that is still open at ``now`` is among them, as far as it has come.
    """
    current_open = bar.floor(now)
    parts = [CandleRows.empty(Series(EXCHANGE, symbol, bar.timeframe))]
    if window.start < current_open:
        closed = Span(window.start, min(window.end, current_open))
        parts.append(market.newest(symbol, bar, closed, count))
    current = _running_candle(market, symbol, bar, now) if running and current_open in window else parts[0]
    rows = _joined([*parts, current])
    return Chart(rows=rows.take(slice(max(0, len(rows) - count), None)), running=bool(len(current)))


def _running_candle(market: Market, symbol: str, bar: Bar, now: UtcMs) -> CandleRows:
    """The candle of ``bar`` that is open at ``now``, made of what has happened so far; empty if nothing has."""
    finest = market.finest(symbol)
    so_far = market.newest(symbol, utc_bar(finest), Span(bar.floor(now), now + 1), 2**31)
    last_open = finest.floor(now)
    if len(so_far) and so_far.open_time[-1] == last_open:
        elapsed = (now - last_open) / (finest.close_of(last_open) - last_open)
        so_far = _joined([so_far.take(slice(-1)), unfinished(so_far.take(slice(-1, None)), elapsed)])
    return bar.join(so_far)


def unfinished(candle: CandleRows, elapsed: float) -> CandleRows:
    """One candle as it looks when the fraction ``elapsed`` of its time is over.

    The price walks open, low, high, close if the candle rises and open, high, low, close if it falls, reaching one of
    them each quarter; the volume grows by a quarter of the whole with each.
    """
    quarters = int(4 * elapsed)
    prices = [float(getattr(candle, name)[0]) for name in ("open", "low", "high", "close")]
    if prices[3] < prices[0]:
        prices[1], prices[2] = prices[2], prices[1]
    seen = prices[: quarters + 1]
    traded = {name: np.round(getattr(candle, name) * quarters / 4, 8) for name in ("base_volume", "quote_volume")}
    values = {"open": [seen[0]], "high": [max(seen)], "low": [min(seen)], "close": [seen[-1]], **traded}
    return CandleRows.of(candle.series, {"open_time": candle.open_time, **values})


def _joined(parts: Sequence[CandleRows]) -> CandleRows:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return CandleRows.of(parts[0].series, columns)
