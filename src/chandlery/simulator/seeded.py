"""A market made from a seed: any minute of any year at once, the same every time.

A price is the typical price of its instrument times the growth of a sum of waves, one for each power of four minutes
from one minute to two years, each twice as high as the one before: that has the look and the memory of a random
walk, needs no past to be known, and stays within a factor of about four. Instruments of one base currency share
their waves, so a swap follows its spot market.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from decimal import Decimal

import numpy as np

from chandlery.domain.candle import COLUMNS, BoolArray, CandleRows, FloatArray
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import HOUR_MS, MINUTE_MS, TIMEFRAMES, IntArray, Timeframe, UtcMs
from chandlery.errors import DataNotFoundError
from chandlery.simulator.bars import BARS, Bar
from chandlery.simulator.listings import CATALOGUE, EXCHANGE, Listing, listing
from chandlery.simulator.noise import growth, key_of, uniform, wave

_MINUTE = TIMEFRAMES["1m"]
_MINUTE_VOLATILITY = 0.0006
_WAVES = 11
_WICK = 0.0008
_QUIET_SHARE = 0.01
_NEVER_QUIET_EVERY = 16
"""One minute in so many always trades, which bounds how far back the last traded price can lie."""
_TURNOVER_DIGITS = 9
"""Digits of a typical minute's turnover: few enough for a month of them to add up exactly in doubles."""
_INVERSE_BASE_DECIMALS = 6
_HOUR_BLOCK = 1_024
"""Hours that are rolled up and remembered together."""
_REMEMBERED_BLOCKS = 512


class SeededMarket:
    """Endless one-minute candles, a pure function of (seed, symbol, minute).

    ``symbols`` may name instruments of the catalogue and any others, which then get a listing of the kind that their
    name tells; without it the whole catalogue trades. Opens equal the previous close, prices lie on the instrument's
    tick and volumes on its lot; about one minute in a hundred is quiet: flat, volume 0. Coarser candles are exact
    roll-ups of these minutes.

    Raises DataValidationError for a symbol that can be none.
    """

    ends_at: UtcMs | None = None

    def __init__(self, seed: int = 0, symbols: Iterable[str] | None = None) -> None:
        chosen = CATALOGUE.values() if symbols is None else map(listing, symbols)
        self.listings: Mapping[str, Listing] = {each.symbol: each for each in chosen}
        self._seed = seed
        # large enough for 60 instruments of eight years, about 30 MB
        self._hours = functools.lru_cache(maxsize=_REMEMBERED_BLOCKS)(self._hour_block)

    def finest(self, symbol: str) -> Timeframe:
        """One minute. Raises DataNotFoundError for an instrument that this market has not."""
        self._listing(symbol)
        return _MINUTE

    def newest(self, symbol: str, bar: Bar, span: Span, count: int) -> CandleRows:
        """The newest ``count`` candles that open in ``span``, ascending, as they are when they have closed.

        Raises DataNotFoundError for an instrument that this market has not.
        """
        listing = self._listing(symbol)
        last = bar.ordinal(min(span.end, listing.history_end) - 1)
        # the first candle of the history may open before it
        first = max(bar.ordinal(span.start - 1) + 1, bar.ordinal(listing.history_start), last - count + 1)
        if count < 1 or first > last:
            return CandleRows.empty(Series(EXCHANGE, symbol, bar.timeframe))
        return self._bars(symbol, bar, Span(bar.open_at(first), bar.open_at(last + 1)))

    def _listing(self, symbol: str) -> Listing:
        found = self.listings.get(symbol)
        if found is None:
            raise DataNotFoundError(f"The seeded market has no {symbol!r}.", hint="Name it among its symbols.")
        return found

    def _bars(self, symbol: str, bar: Bar, span: Span) -> CandleRows:
        if bar.timeframe == _MINUTE:
            return self._minutes(self._listing(symbol), span)
        step_ms = bar.timeframe.step_ms
        if step_ms is not None and step_ms < HOUR_MS:
            return bar.join(self._minutes(self._listing(symbol), span))
        return bar.join(self._whole_hours(symbol, span))

    def _whole_hours(self, symbol: str, span: Span) -> CandleRows:
        first, end = span.start // HOUR_MS, span.end // HOUR_MS
        blocks = [self._hours(symbol, block) for block in range(first // _HOUR_BLOCK, -(-end // _HOUR_BLOCK))]
        hours = CandleRows.of(blocks[0].series, {n: np.concatenate([getattr(b, n) for b in blocks]) for n in COLUMNS})
        return hours.take((hours.open_time >= span.start) & (hours.open_time < span.end))

    def _hour_block(self, symbol: str, block: int) -> CandleRows:
        start = block * _HOUR_BLOCK * HOUR_MS
        span = Span(start, start + _HOUR_BLOCK * HOUR_MS)
        return BARS["1H"].join(self._minutes(self._listing(symbol), span))

    def _minutes(self, listing: Listing, span: Span) -> CandleRows:
        """The minutes of ``span`` that lie in the instrument's history."""
        series = Series(EXCHANGE, listing.symbol, _MINUTE)
        first = -(-max(span.start, listing.history_start) // MINUTE_MS)
        end = -(-min(span.end, listing.history_end) // MINUTE_MS)
        if first >= end:
            return CandleRows.empty(series)
        minutes = np.arange(first, end, dtype=np.int64)
        quiet, closes = self._closes(listing, first, end)
        opens = closes[:-1]
        closes, quiet = closes[1:], quiet[1:]
        prices = self._prices(listing, minutes, opens, closes, quiet)
        volumes = self._volumes(listing, minutes, prices, quiet)
        return CandleRows.of(series, {"open_time": minutes * MINUTE_MS, **prices, **volumes})

    def _closes(self, listing: Listing, first: int, end: int) -> tuple[BoolArray, IntArray]:
        """Of the minutes from ``first - 1`` to ``end``: which are quiet, and the closes in ticks."""
        traded = (first - 1) // _NEVER_QUIET_EVERY * _NEVER_QUIET_EVERY
        minutes = np.arange(traded, end, dtype=np.int64)
        quiet = uniform(self._key(listing.symbol, "quiet"), minutes) < _QUIET_SHARE
        quiet &= minutes % _NEVER_QUIET_EVERY != 0
        last_traded = np.maximum.accumulate(np.where(quiet, 0, np.arange(len(minutes))))
        ticks = self._level(listing, minutes)[last_traded]
        wanted = slice(first - 1 - traded, None)
        return quiet[wanted], ticks[wanted]

    def _level(self, listing: Listing, minutes: IntArray) -> IntArray:
        """Where the price stands at the end of each minute, in ticks."""
        base = listing.instrument.base
        height = np.zeros(len(minutes))
        for octave in range(_WAVES):
            height += _MINUTE_VOLATILITY * 2**octave * wave(self._key(base, "wave", octave), minutes, 4**octave)
        typical_ticks = listing.typical_price / float(listing.instrument.tick_size)
        return np.maximum(2, np.rint(typical_ticks * growth(height))).astype(np.int64)

    def _prices(
        self, listing: Listing, minutes: IntArray, opens: IntArray, closes: IntArray, quiet: BoolArray
    ) -> dict[str, FloatArray]:
        upper, lower = (self._wicks(listing, minutes, side, closes, quiet) for side in ("upper", "lower"))
        ticks = {
            "open": opens,
            "high": np.maximum(opens, closes) + upper,
            "low": np.maximum(1, np.minimum(opens, closes) - lower),
            "close": closes,
        }
        tick = listing.instrument.tick_size
        return {name: _decimal_steps(values, tick) for name, values in ticks.items()}

    def _wicks(self, listing: Listing, minutes: IntArray, side: str, closes: IntArray, quiet: BoolArray) -> IntArray:
        """How far each minute went beyond its body, in ticks."""
        u = uniform(self._key(listing.symbol, side), minutes)
        return np.where(quiet, 0, np.rint(closes * (_WICK * u * u))).astype(np.int64)

    def _volumes(
        self, listing: Listing, minutes: IntArray, prices: dict[str, FloatArray], quiet: BoolArray
    ) -> dict[str, FloatArray]:
        """What was traded, in whole lots; a lot of a derivative is a number of contracts."""
        instrument = listing.instrument
        worth = instrument.contract_value or 1.0
        lot_turnover = float(instrument.lot_size) * worth * (1.0 if listing.inverse else listing.typical_price)
        u = uniform(self._key(listing.symbol, "volume"), minutes)
        lots = np.maximum(1, np.rint((0.05 + 2.85 * u * u) * listing.turnover / lot_turnover))
        traded = _decimal_steps(np.where(quiet, 0, lots).astype(np.int64), instrument.lot_size, worth)
        average = (prices["open"] + prices["high"] + prices["low"] + prices["close"]) / 4
        if listing.inverse:
            return {"base_volume": np.round(traded / average, _INVERSE_BASE_DECIMALS), "quote_volume": traded}
        decimals = _TURNOVER_DIGITS - len(str(int(listing.turnover)))
        return {"base_volume": traded, "quote_volume": np.round(traded * average, decimals)}

    def _key(self, *parts: object) -> int:
        return key_of(self._seed, *parts)


def _decimal_steps(steps: IntArray, size: str, worth: float = 1.0) -> FloatArray:
    """``steps`` times ``size`` times ``worth``, as the doubles nearest to the exact decimals."""
    exact = Decimal(size) * Decimal(repr(worth))
    places = max(0, -int(exact.as_tuple().exponent))
    return steps * int(exact.scaleb(places)) / 10.0**places
