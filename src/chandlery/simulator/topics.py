"""What the candle stream says of one instrument in one bar: each closed candle once and in order, and the open one.

A market knows its future, so a topic fetches closed candles ahead, many at once: three hundred topics of fast clocks
cost one core little. How much it fetches first depends on the symbol, so that not all topics fetch in the same moment.
"""

from __future__ import annotations

import json
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from chandlery.domain.candle import CandleRows
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, MINUTE_MS, UtcMs
from chandlery.simulator.bars import BARS, Bar
from chandlery.simulator.listings import Listing
from chandlery.simulator.market import Chart, Market, chart, unfinished
from chandlery.simulator.wire import Row, candle_rows

_AHEAD_MS = 128 * MINUTE_MS
_PREFIX = "candle"


class Channel(NamedTuple):
    """A topic by the exchange's names: ``candle1m`` of ``BTC-USDT``."""

    name: str
    inst_id: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """The closing push of the candle that opened at ``open_time``."""

    open_time: UtcMs
    text: str


def topic_of(market: Market, channel: Channel, now: UtcMs) -> Topic | None:
    """The topic that pushes from ``now`` on, or None if there is no such channel or instrument."""
    bar = BARS.get(channel.name.removeprefix(_PREFIX)) if channel.name.startswith(_PREFIX) else None
    listing = market.listings.get(channel.inst_id)
    if bar is None or listing is None or not listing.listed(now) or not bar.made_of(market.finest(listing.symbol)):
        return None
    return Topic(market, channel, listing, bar, now)


class Topic:
    """The candles of one channel, beginning with the bar that is open at ``now``."""

    def __init__(self, market: Market, channel: Channel, listing: Listing, bar: Bar, now: UtcMs) -> None:
        self.channel = channel
        self._market, self._listing, self._bar = market, listing, bar
        self._argument = json.dumps({"channel": channel.name, "instId": channel.inst_id}, separators=(",", ":"))
        self._ordinal = bar.ordinal(now)
        self._closes_at = bar.open_at(self._ordinal + 1)
        self._fetched: deque[tuple[UtcMs, Row]] = deque()
        self._candles = CandleRows.empty(market.newest(listing.symbol, bar, Span(now, now + 1), 0).series)
        self._fetched_until = self._ordinal
        self._plain = bar.timeframe == market.finest(listing.symbol)

    def confirms(self, now: UtcMs) -> Iterator[Confirm]:
        """The bars that have closed since the last call, ascending; a bar without a candle has no push."""
        while self._closes_at <= now:
            if self._ordinal >= self._fetched_until:
                self._fetch()
            open_time = self._bar.open_at(self._ordinal)
            self._ordinal += 1
            self._closes_at = self._bar.open_at(self._ordinal + 1)
            if self._fetched and self._fetched[0][0] == open_time:
                yield Confirm(open_time, self._text(self._fetched.popleft()[1]))

    def running(self, now: UtcMs) -> str | None:
        """The push of the candle that is open at ``now``; None if it has none or the one before is still to be told."""
        if self._closes_at <= now:
            return None
        open_time = self._bar.open_at(self._ordinal)
        shown = self._started(open_time, now) if self._plain else self._charted(open_time, now)
        return self._text(candle_rows(self._listing, shown)[0]) if len(shown.rows) else None

    def _started(self, open_time: UtcMs, now: UtcMs) -> Chart:
        """The open candle of the market's finest bar, made of the candle that it will have been."""
        if self._ordinal >= self._fetched_until:
            self._fetch()
        at = self._candles.open_time.searchsorted(open_time)
        candle = self._candles.take(slice(at, at + 1))
        if not len(candle) or candle.open_time[0] != open_time:
            return Chart(rows=self._candles.take(slice(0)), running=True)
        return Chart(rows=unfinished(candle, (now - open_time) / (self._closes_at - open_time)), running=True)

    def _charted(self, open_time: UtcMs, now: UtcMs) -> Chart:
        return chart(self._market, self._listing.symbol, self._bar, Span(open_time, now + 1), 1, now=now, running=True)

    def _fetch(self) -> None:
        """Fetch the candles of the next bars, as they will be when they have closed."""
        count = max(1, _AHEAD_MS // (self._bar.timeframe.step_ms or 31 * DAY_MS))
        if not len(self._candles):
            count = 1 + zlib.crc32(self._listing.symbol.encode()) % count
        until = self._ordinal + count
        span = Span(self._bar.open_at(self._ordinal), self._bar.open_at(until))
        candles = self._market.newest(self._listing.symbol, self._bar, span, count)
        # a recording is a batch, which must ascend, but rows are written newest first
        self._candles = CandleRows.of(candles.series, candles.columns())
        rows = candle_rows(self._listing, Chart(rows=self._candles, running=False))
        self._fetched.extend(zip(self._candles.open_time.tolist(), reversed(rows), strict=True))
        self._fetched_until = until

    def _text(self, row: Row) -> str:
        return f'{{"arg":{self._argument},"data":[{json.dumps(row, separators=(",", ":"))}]}}'
