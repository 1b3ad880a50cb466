"""From what an exchange sent to what can be stored: rows are judged, and refused ones prove nothing."""

from __future__ import annotations

from chandlery.domain.candle import CandleRows, RawText, Rejected
from chandlery.domain.rules import judge
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import UtcMs
from chandlery.storage.writer import Delivery


def delivery_of(rows: CandleRows, raw: RawText, *, now: UtcMs, answered: Spans | None = None) -> Delivery:
    """Judge ``rows`` and say what holding them proves.

    ``answered`` are the spans for which the source stands; None where it stands for the candles that it sent only.
    ``now`` is the exchange's time, UTC milliseconds: nothing that closes later is accepted.
    """
    verdict = judge(rows, now=now, raw=raw)
    proved = verdict.accepted.runs() if answered is None else answered
    return Delivery(
        batch=verdict.accepted,
        # a row that was refused is not known, so its bar is asked for again another time
        covered=proved - _bars_of(verdict.rejected),
        rejected=verdict.rejected,
        repeated=verdict.repeated,
    )


def _bars_of(rejected: Rejected) -> Spans:
    """The bars that rejected rows were about, where their time could be read."""
    timeframe = rejected.series.timeframe
    opens = [timeframe.floor(time) for time in rejected.open_time if time is not None]
    return Spans(Span(open_time, timeframe.close_of(open_time)) for open_time in opens)
