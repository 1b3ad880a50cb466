"""The files of candles of one series: which are worth a download, and what is done when they disappoint.

A file is a shortcut and never the last word. One that is absent, damaged or unfinished leaves its span missing, and
what is missing is asked for in the next round: from smaller files, and then from the pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from chandlery.domain.candle import CandleRows
from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import ExchangeError
from chandlery.exchange.source import CandleFile, FilePeriod, Page
from chandlery.services import error_log
from chandlery.services.collect.fetches import Fetch
from chandlery.services.collect.run import Bulk, Run


@dataclass(frozen=True, slots=True)
class _Worth:
    """A file is fetched if it saves ``pages`` at least, and files are listed at all for ``files`` of them at least."""

    pages: int
    files: int


_WORTH = {
    # a month is 149 pages, a day 5; a listing is one request for ten periods, and a slow one
    (Bulk.AUTO, FilePeriod.MONTH): _Worth(pages=30, files=1),
    (Bulk.AUTO, FilePeriod.DAY): _Worth(pages=3, files=10),
    (Bulk.ONLY, FilePeriod.MONTH): _Worth(pages=10, files=1),
    (Bulk.ONLY, FilePeriod.DAY): _Worth(pages=1, files=1),
}


class SeriesFiles:
    """The files of one series in one run."""

    def __init__(self, run: Run, instrument: Instrument, series: Series) -> None:
        self._run, self._instrument, self._series = run, instrument, series
        self._files = run.source.files
        self._finished_from = self._files.first

    async def fetches(self, period: FilePeriod, missing: Spans) -> list[Fetch]:
        """The files of this length that are worth it and exist, newest first; they hold one-minute candles only."""
        spans = self._worthwhile(period, missing) if self._series.timeframe == TIMEFRAMES["1m"] else ()
        if not spans:
            return []
        try:
            files = await self._files.listed(self._instrument, period, spans)
        except ExchangeError as error:
            error_log.file_left(error)
            return []
        return [
            Fetch(span=file.span, answer=partial(self._answer, file, missing & Spans([file.span])), is_file=True)
            for file in files
        ]

    def _worthwhile(self, period: FilePeriod, missing: Spans) -> Sequence[Span]:
        worth = _WORTH[self._run.wanted.bulk, period]
        spans = [
            span
            for span in self._files.periods(period, missing, self._run.now)
            if span.start >= self._finished_from and self._pages(missing & Spans([span])) >= worth.pages
        ]
        return spans if len(spans) >= worth.files else ()

    def _pages(self, missing: Spans) -> int:
        return sum(1 for _ in self._run.source.pages(self._series, missing))

    async def _answer(self, file: CandleFile, wanted: Spans) -> Page:
        """What the file says; nothing if it cannot be had or read.

        Once most of a file is unfinished no older one is asked for: the exchange's old files are unfinished throughout.
        """
        if file.span.start < self._finished_from:
            return self._nothing(file)
        try:
            page = await self._files.page(self._instrument, self._series, file, wanted)
        except ExchangeError as error:
            error_log.file_left(error, file.name)
            return self._nothing(file)
        if page.doubtful:
            error_log.file_doubtful(file.name, page.doubtful, page.rows_in_file)
        if 2 * page.doubtful > page.rows_in_file:
            self._finished_from = max(self._finished_from, file.span.end)
        return page

    def _nothing(self, file: CandleFile) -> Page:
        return Page(asked=file.span, rows=CandleRows.empty(self._series), answered=Spans(), raw=str)
