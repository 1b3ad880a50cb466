"""A sample of what is stored, compared with what the exchange says now; candles that were derived here come first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.quality import Finding, Rule
from chandlery.domain.quality.compare import differing
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import IntArray, Timeframe, UtcMs
from chandlery.exchange.source import CandleSource
from chandlery.services.check.run import Report
from chandlery.services.check.shelves import Shelf, candles
from chandlery.services.judging import delivery_of


async def sampled(source: CandleSource, shelf: Shelf, report: Report, count: int) -> tuple[list[Finding], list[Series]]:
    """Compare ``count`` bars of each series, taken at random, a request each.

    Also returns the series that were left out, because the exchange of ``source`` does not list them. Raises an
    ExchangeError.
    """
    listed = {instrument.symbol: instrument for instrument in await source.instruments()}
    now, rng = await source.now(), np.random.default_rng()
    found: list[Finding] = []
    left_out: list[Series] = []
    for each in report.series:
        series, instrument = each.series, listed.get(each.series.symbol)
        if instrument is None or series.exchange != source.exchange:
            left_out.append(series)
        elif each.wanted is not None:
            chosen = _chosen(series.timeframe, shelf.known(series).derived, each.wanted, count, rng)
            asked = [_differences(source, instrument, series, shelf, bar, now) for bar in chosen]
            for findings in await asyncio.gather(*asked):
                found += findings
    return found, left_out


def _chosen(timeframe: Timeframe, derived: Spans, wanted: Span, count: int, rng: np.random.Generator) -> Sequence[Span]:
    """``count`` bars of what is derived in ``wanted``, or of all of it where nothing is, ascending."""
    bars = np.concatenate([_numbers(timeframe, span) for span in derived & Spans([wanted]) or Spans([wanted])])
    numbers = np.sort(rng.choice(bars, min(count, len(bars)), replace=False)).tolist()
    return [Span(timeframe.open_at(number), timeframe.open_at(number + 1)) for number in numbers]


def _numbers(timeframe: Timeframe, span: Span) -> IntArray:
    return np.arange(timeframe.ordinal(span.start), timeframe.ordinal(span.end), dtype=np.int64)


async def _differences(
    source: CandleSource, instrument: Instrument, series: Series, shelf: Shelf, bar: Span, now: UtcMs
) -> list[Finding]:
    page = await source.page(instrument, series, bar)
    theirs = delivery_of(page.rows, page.raw, now=now).batch
    ours = await asyncio.to_thread(candles, shelf, series, bar, now)
    return list(differing(ours, theirs, Rule.EXCHANGE_MISMATCH))
