"""The tail of a streamed series, which may be kept for months."""

from __future__ import annotations

from chandlery.domain.instrument import Instrument, Kind, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import MINUTE_MS, TIMEFRAMES
from chandlery.services.live.tail import Tail

MINUTE = TIMEFRAMES["1m"]


def test_it_stays_small_where_nobody_asks_how_it_does() -> None:
    instrument = Instrument(exchange="okx", symbol="BTC-USDT", kind=Kind.SPOT, base="BTC", quote="USDT")
    tail = Tail(instrument=instrument, series=Series("okx", "BTC-USDT", MINUTE), begins_at=0, known=Spans())
    kept = 0
    for minute in range(2_000):
        span = Span(minute * MINUTE_MS, (minute + 1) * MINUTE_MS)
        tail.learnt(Spans([span]), 1, minute * 60.0)
        kept = max(kept, len(tail._stored_at))
    assert kept == 2
    assert tail.candles_a_minute(1_999 * 60.0) == 2
    assert tail.stored == 2_000
