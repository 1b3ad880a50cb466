"""The exchange's own spelling: rows of nine texts, instruments as mappings of texts, and the envelope around them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from chandlery.domain.candle import FloatArray
from chandlery.domain.instrument import Kind
from chandlery.errors import RequestRefused
from chandlery.simulator.listings import Listing
from chandlery.simulator.market import Chart

Row = list[str]
"""ts, open, high, low, close, vol, volCcy, volCcyQuote, confirm."""

_CONTRACT_DECIMALS = 8

_HTTP_STATUS = {
    "50011": 429,
    "50013": 429,
    "50014": 400,
    "50001": 503,
    "50026": 500,
    "50076": 400,
    "51000": 400,
    "404": 404,
}
"""The HTTP status that goes with a code; 200 with all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the exchange says: an HTTP status, a JSON document and extra headers."""

    status: int
    document: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    @property
    def code(self) -> str:
        """The exchange's own code, "0" for success."""
        return str(self.document["code"])

    @property
    def rows(self) -> int:
        """How many items of data it has."""
        data = self.document.get("data")
        return len(data) if isinstance(data, list) else 0

    @property
    def body(self) -> bytes:
        """The document as it goes over the wire."""
        return json.dumps(self.document, separators=(",", ":")).encode()


def success(data: Sequence[object]) -> Answer:
    """The envelope around ``data``."""
    return Answer(status=200, document={"code": "0", "msg": "", "data": data})


def failure(code: str, message: str, *, status: int | None = None) -> Answer:
    """The envelope of an error; ``status`` overrules the HTTP status that usually goes with ``code``.

    A rate limit is answered in front of the API and has no ``data``.
    """
    document = {"msg": message, "code": code} if code == "50011" else {"code": code, "msg": message, "data": []}
    return Answer(status=status or _HTTP_STATUS.get(code, 200), document=document)


def refused(error: RequestRefused) -> Answer:
    """The envelope of a refusal."""
    return failure(error.code, error.args[0])


def rate_limited(status: int, retry_after_s: float | None = None) -> Answer:
    """Code 50011, which comes with HTTP 429 or 200."""
    answer = failure("50011", "Too Many Requests", status=status)
    if retry_after_s is None:
        return answer
    # the header counts whole seconds
    return Answer(status=status, document=answer.document, headers={"Retry-After": str(int(-(-retry_after_s // 1)))})


def decimal_text(value: float) -> str:
    """The shortest plain decimal that is read back as the same double: never an exponent, never a trailing ``.0``."""
    text = repr(value)
    if "e" in text:
        text = f"{Decimal(text):f}"
    return text.removesuffix(".0")


def candle_rows(listing: Listing, chart: Chart) -> list[Row]:
    """The candles newest first, with the volume columns that the kind of instrument has.

    ``vol`` counts the base currency for spot and contracts for all others; ``volCcy`` is the quote currency for spot
    and the base currency for all others; ``volCcyQuote`` is the quote currency.
    """
    rows = chart.rows.take(slice(None, None, -1))
    base, quote = rows.base_volume, rows.quote_volume
    spot = listing.instrument.kind is Kind.SPOT
    volumes = (base, quote, quote) if spot else (_contracts(listing, base, quote), base, quote)
    confirms = ["1"] * len(rows)
    if chart.running:
        confirms[0] = "0"
    times = [str(time) for time in rows.open_time.tolist()]
    columns = [_texts(column) for column in (rows.open, rows.high, rows.low, rows.close, *volumes)]
    return [list(row) for row in zip(times, *columns, confirms, strict=True)]


def _texts(column: FloatArray) -> list[str]:
    return [decimal_text(value) for value in column.tolist()]


def _contracts(listing: Listing, base: FloatArray, quote: FloatArray) -> FloatArray:
    """The volume in contracts: an inverse one is worth an amount of the quote currency, a linear one of the base."""
    worth = listing.instrument.contract_value or 1.0
    contracts: FloatArray = np.round((quote if listing.inverse else base) / worth, _CONTRACT_DECIMALS)
    return contracts


def instrument_row(listing: Listing) -> dict[str, object]:
    """An instrument as ``/public/instruments`` describes it; in ``preopen`` hardly a field is filled in."""
    instrument = listing.instrument
    row: dict[str, object] = dict.fromkeys(_EMPTY_FIELDS, "")
    row |= {
        "instType": instrument.kind.value.upper(),
        "instId": instrument.symbol,
        "state": instrument.state,
        "listTime": _text_or_empty(instrument.listed_at),
        "upcChg": [],
    }
    if instrument.state == "preopen":
        return row
    row |= {"tickSz": instrument.tick_size, "lotSz": instrument.lot_size, "minSz": instrument.lot_size}
    row |= {
        "expTime": _text_or_empty(instrument.expires_at),
        "category": "1",
        "instCategory": "1",
        "ruleType": "normal",
    }
    if instrument.kind is Kind.SPOT:
        return row | {"baseCcy": instrument.base, "quoteCcy": instrument.quote}
    return row | _contract_fields(listing)


def family(listing: Listing) -> str:
    """The instrument family, and the underlying: ``BTC-USDT`` of ``BTC-USDT-SWAP``; empty for spot."""
    instrument = listing.instrument
    return "" if instrument.kind is Kind.SPOT or not instrument.base else f"{instrument.base}-{instrument.quote}"


def _contract_fields(listing: Listing) -> dict[str, object]:
    instrument = listing.instrument
    return {
        "instFamily": family(listing),
        "uly": family(listing),
        "settleCcy": instrument.settle,
        "ctType": "inverse" if listing.inverse else "linear",
        "ctVal": decimal_text(instrument.contract_value or 1.0),
        "ctMult": "1",
        "ctValCcy": instrument.quote if listing.inverse else instrument.base,
    }


def _text_or_empty(value: int | None) -> str:
    return "" if value is None else str(value)


_EMPTY_FIELDS = (
    *("alias", "baseCcy", "contTdSwTime", "ctMult", "ctType", "ctVal", "ctValCcy", "expTime", "groupId"),
    *("instCategory", "instFamily", "instId", "instType", "lever", "listTime", "lotSz", "maxIcebergSz", "maxLmtAmt"),
    *("maxLmtSz", "maxMktAmt", "maxMktSz", "maxStopSz", "maxTriggerSz", "maxTwapSz", "minSz", "openType", "optType"),
    *("preMktSwTime", "quoteCcy", "ruleType", "settleCcy", "state", "stk", "tickSz", "uly"),
)
