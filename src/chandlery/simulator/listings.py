"""The instruments of the simulated exchange, with what a seeded market has to know about each of them.

They are modelled on real ones: ticks from 0.1 down to 1e-12, spot, linear and inverse swaps, dated futures; and they
include what surprises collectors: a listing time a year after the first candle (BTC-USDT), a future that has expired
and is no longer listed, a suspended instrument whose candles just end, and one in ``preopen`` with hardly a field
filled in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chandlery.domain.instrument import Instrument, Kind, canonical_symbol
from chandlery.domain.timeframe import UtcMs

EXCHANGE = "okx-simulated"
_ENDLESS_MS: UtcMs = 2**53
_YEAR_2020_MS: UtcMs = 1_577_836_800_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One instrument and its market.

    ``history_start`` and ``history_end`` bound its candles, UTC milliseconds, half-open. ``typical_price`` is in the
    quote currency; ``turnover`` is the typical trade of a minute in the quote currency.
    """

    instrument: Instrument
    history_start: UtcMs
    history_end: UtcMs = _ENDLESS_MS
    typical_price: float = 1.0
    turnover: float = 1_000.0

    @property
    def symbol(self) -> str:
        """The exchange's name of it."""
        return self.instrument.symbol

    @property
    def inverse(self) -> bool:
        """Whether its contracts are worth an amount of the quote currency and settle in the base currency."""
        return self.instrument.settle == self.instrument.base != ""

    def listed(self, now: UtcMs) -> bool:
        """Whether the exchange knows it at ``now``: expired futures are gone."""
        expiry = self.instrument.expires_at
        return expiry is None or now < expiry


def listing(symbol: str) -> Listing:
    """The catalogue's listing of ``symbol``, or, for any other symbol, an invented one of the kind its name tells.

    Raises DataValidationError for text that can be no symbol.
    """
    symbol = canonical_symbol(symbol)
    return CATALOGUE.get(symbol) or _invented(symbol)


def _invented(symbol: str) -> Listing:
    make = _contract if symbol.count("-") > 1 else _spot
    return make(symbol, "0.0001", 1.0, _YEAR_2020_MS)


def _spot(
    symbol: str, tick: str, price: float, start: UtcMs, *, lot: str = "0.000001", turnover: float = 5_000.0
) -> Listing:
    base, _, quote = symbol.partition("-")
    instrument = Instrument(
        exchange=EXCHANGE,
        symbol=symbol,
        kind=Kind.SPOT,
        base=base,
        quote=quote,
        tick_size=tick,
        lot_size=lot,
        listed_at=start,
    )
    return Listing(instrument=instrument, history_start=start, typical_price=price, turnover=turnover)


def _contract(
    symbol: str, tick: str, price: float, start: UtcMs, *, worth: float = 1.0, turnover: float = 20_000.0
) -> Listing:
    """A swap or dated future: linear if it is quoted in a stablecoin, inverse if it is quoted in USD."""
    base, quote, suffix = symbol.split("-", 2)
    instrument = Instrument(
        exchange=EXCHANGE,
        symbol=symbol,
        kind=Kind.SWAP if suffix == "SWAP" else Kind.FUTURES,
        base=base,
        quote=quote,
        settle=base if quote == "USD" else quote,
        tick_size=tick,
        lot_size="1",
        contract_value=worth,
        listed_at=start,
    )
    return Listing(instrument=instrument, history_start=start, typical_price=price, turnover=turnover)


def _listed_at(listing: Listing, listed_at: UtcMs) -> Listing:
    return replace(listing, instrument=replace(listing.instrument, listed_at=listed_at))


def _expiring(listing: Listing, expires_at: UtcMs) -> Listing:
    instrument = replace(listing.instrument, expires_at=expires_at)
    return replace(listing, instrument=instrument, history_end=expires_at)


def _suspended(listing: Listing, since: UtcMs) -> Listing:
    return replace(listing, instrument=replace(listing.instrument, state="suspend"), history_end=since)


def _preopen(symbol: str, kind: Kind, opens_at: UtcMs) -> Listing:
    """An announced instrument: it has a name, a kind, a listing time and a state, and no candle."""
    instrument = Instrument(
        exchange=EXCHANGE, symbol=symbol, kind=kind, base="", quote="", listed_at=opens_at, state="preopen"
    )
    return Listing(instrument=instrument, history_start=_ENDLESS_MS)


def _catalogue() -> Iterable[Listing]:
    btc = _spot("BTC-USDT", "0.1", 40_000, 1_515_669_120_000, lot="0.00000001", turnover=2e5)
    eth = _spot("ETH-USDT", "0.01", 2_000, 1_515_669_120_000, turnover=1e5)
    # the exchange's listing time of both lies a year after their first candle
    yield from (_listed_at(each, 1_548_133_413_000) for each in (btc, eth))
    yield _spot("SOL-USDT", "0.01", 80, 1_601_431_200_000, turnover=2e4)
    yield _spot("DOGE-USDT", "0.00001", 0.12, 1_561_939_200_000, turnover=1e4)
    yield _spot("SHIB-USDT", "0.000000001", 0.000_012, 1_620_452_400_000, lot="1")
    yield _spot("PEPE-USDT", "0.000000001", 0.000_008, 1_683_288_000_000, lot="1")
    yield _spot("BABYDOGE-USDT", "0.000000000001", 1.7e-9, 1_628_583_240_000, lot="1", turnover=10)
    yield _spot("ETH-BTC", "0.00001", 0.05, 1_515_669_120_000, turnover=0.5)
    yield _contract("BTC-USDT-SWAP", "0.1", 40_010, 1_577_836_800_000, worth=0.01, turnover=5e5)
    yield _contract("ETH-USDT-SWAP", "0.01", 2_001, 1_577_836_800_000, worth=0.1, turnover=2e5)
    yield _contract("SOL-USDT-SWAP", "0.01", 80.1, 1_611_916_800_000, worth=1.0, turnover=5e4)
    yield _contract("DOGE-USDT-SWAP", "0.00001", 0.1201, 1_611_916_800_000, worth=1_000.0, turnover=5e4)
    yield _contract("BTC-USD-SWAP", "0.1", 40_005, 1_544_745_600_000, worth=100.0, turnover=1e5)
    yield _contract("ETH-USD-SWAP", "0.01", 2_000.5, 1_544_745_600_000, worth=10.0, turnover=5e4)
    yield _expiring(_contract("BTC-USDT-240329", "0.1", 40_100, 1_696_003_200_000, worth=0.01), 1_711_699_200_000)
    yield _expiring(_contract("BTC-USDT-280331", "0.1", 40_100, 1_758_873_600_000, worth=0.01), 1_838_102_400_000)
    yield _expiring(_contract("BTC-USD-280331", "0.1", 40_100, 1_758_873_600_000, worth=100.0), 1_838_102_400_000)
    yield _suspended(_spot("LUNA-USDT", "0.0001", 60, 1_601_431_200_000), 1_652_432_400_000)
    yield _preopen("NEWT-USDT", Kind.SPOT, 1_893_456_000_000)
    yield _preopen("NEWT-USDT-SWAP", Kind.SWAP, 1_893_456_000_000)


CATALOGUE: dict[str, Listing] = {listing.symbol: listing for listing in _catalogue()}
"""The listings of the exchange by symbol."""
