"""What the exchange answers to which question: no network here, questions in and answers out.

Assumed where the exchange's behaviour is not documented: a ``limit`` that is no whole number from 1 to 300 is
refused with 51000; a ``before`` that does not lie before ``after`` is ignored; an expired future answers 51001; an
instrument in ``preopen`` has no candles and answers an empty page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chandlery.domain.span import Span
from chandlery.domain.timeframe import MINUTE_MS, UtcMs
from chandlery.errors import RequestRefused
from chandlery.simulator.bars import BARS, Bar
from chandlery.simulator.listings import Listing
from chandlery.simulator.market import Market, chart
from chandlery.simulator.wire import Answer, Row, candle_rows, family, instrument_row, success

Parameters = Mapping[str, str]
"""The query of a request."""

CANDLES, HISTORY = "/api/v5/market/candles", "/api/v5/market/history-candles"
INSTRUMENTS, TIME, STATUS = "/api/v5/public/instruments", "/api/v5/public/time", "/api/v5/system/status"
FILE_LISTING, FILES = "/api/v5/public/market-data-history", "/cdn/okex/traderecords/candlesticks"
"""Where files of candles are listed, and the folder in which they lie."""

PAGE_SIZE = 300
DEFAULT_PAGE_SIZE = 100
RECENT_BARS = 1_440
"""How many bars back, the running one among them, the endpoint for recent candles reaches."""
HISTORY_LAG_MS = MINUTE_MS
"""How long after its close a candle shows up in the history."""

_KINDS = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS")
_LATEST_MS: UtcMs = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleQuery:
    """A question for candles older than ``after`` and newer than ``before``, both exclusive, None for no bound."""

    listing: Listing
    bar: Bar
    after: UtcMs | None
    before: UtcMs | None
    page_size: int


def read_candle_query(market: Market, parameters: Parameters, now: UtcMs) -> CandleQuery:
    """The question that the parameters ask; raises RequestRefused for one that makes no sense."""
    symbol = required(parameters, "instId")
    bar = BARS.get(parameters.get("bar", "1m"))
    limit = number_in(parameters, "limit")
    page_size = DEFAULT_PAGE_SIZE if limit is None else limit
    after, before = number_in(parameters, "after"), number_in(parameters, "before")
    if not 1 <= page_size <= PAGE_SIZE:
        raise bad_parameter("limit")
    listing = market.listings.get(symbol)
    if listing is None or not listing.listed(now):
        raise _unknown_instrument()
    if bar is None or not bar.made_of(market.finest(symbol)):
        raise bad_parameter("bar")
    if after is not None and before is not None and before >= after:
        before = None
    return CandleQuery(listing=listing, bar=bar, after=after, before=before, page_size=page_size)


def recent_page(market: Market, query: CandleQuery, now: UtcMs) -> list[Row]:
    """A page of the last 1440 bars, the running one included."""
    bar = query.bar
    oldest = bar.open_at(bar.ordinal(now) - RECENT_BARS + 1)
    return _page(market, query, _window(query, oldest, now), now, running=True)


def history_page(market: Market, query: CandleQuery, now: UtcMs) -> list[Row]:
    """A page of all closed bars but the very last."""
    return _page(market, query, _window(query, 0, now), now - HISTORY_LAG_MS, running=False)


def _window(query: CandleQuery, oldest: UtcMs, now: UtcMs) -> Span | None:
    """The open times that the cursors and the reach of the endpoint leave."""
    start = oldest if query.before is None else max(oldest, query.before + 1)
    end = now + 1 if query.after is None else min(now + 1, query.after)
    return Span(start, end) if start < end else None


def _page(market: Market, query: CandleQuery, window: Span | None, now: UtcMs, *, running: bool) -> list[Row]:
    if window is None:
        return []
    shown = chart(market, query.listing.symbol, query.bar, window, query.page_size, now=now, running=running)
    return candle_rows(query.listing, shown)


PAGES: dict[str, Callable[[Market, CandleQuery, UtcMs], list[Row]]] = {CANDLES: recent_page, HISTORY: history_page}
"""The endpoints that answer with candles."""


def time_answer(_market: Market, _parameters: Parameters, now: UtcMs) -> Answer:
    """The exchange's clock."""
    return success([{"ts": str(now)}])


def status_answer(_market: Market, _parameters: Parameters, _now: UtcMs) -> Answer:
    """Announced maintenance; there is none, for outages come unannounced."""
    return success([])


def instruments_answer(market: Market, parameters: Parameters, now: UtcMs) -> Answer:
    """The listed instruments of one kind; raises RequestRefused where the exchange would refuse."""
    kind = required(parameters, "instType")
    if kind not in _KINDS:
        raise bad_parameter("instType")
    wanted_family = parameters.get("instFamily") or parameters.get("uly")
    if kind == "OPTION" and not wanted_family:
        raise RequestRefused("Parameter instFamily can not be empty", code="50014")
    found = [
        each
        for each in market.listings.values()
        if each.instrument.kind.value.upper() == kind
        and each.listed(now)
        and wanted_family in (None, family(each))
        and parameters.get("instId") in (None, each.symbol)
    ]
    if parameters.get("instId") and not found:
        raise _unknown_instrument()
    return success([instrument_row(each) for each in found])


ANSWERS: dict[str, Callable[[Market, Parameters, UtcMs], Answer]] = {
    TIME: time_answer,
    STATUS: status_answer,
    INSTRUMENTS: instruments_answer,
}
"""The endpoints that answer with anything else."""


def required(parameters: Parameters, name: str) -> str:
    """The parameter's text; raises RequestRefused where it is absent or empty."""
    value = parameters.get(name, "")
    if not value:
        raise RequestRefused(f"Parameter {name} can not be empty", code="50014")
    return value


def number_in(parameters: Parameters, name: str) -> int | None:
    """A whole number, or None where the parameter is absent or empty."""
    text = parameters.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text[:20]) <= _LATEST_MS):
        raise bad_parameter(name)
    return int(text)


def bad_parameter(name: str) -> RequestRefused:
    """The refusal of a parameter that makes no sense."""
    return RequestRefused(f"Parameter {name} error", code="51000")


def _unknown_instrument() -> RequestRefused:
    return RequestRefused("Instrument ID, Instrument ID code, or Spread ID doesn't exist.", code="51001")
