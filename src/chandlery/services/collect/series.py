"""One series of a collection: claim it, subtract, and let several pages be fetched, judged and stored at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, UtcMs
from chandlery.errors import ArchiveUnavailable, ChandleryError, DamagedDataError, DatabaseError, StorageError
from chandlery.exchange.source import FilePeriod, Page
from chandlery.services import error_log
from chandlery.services.collect.fetches import Fetch, page_fetches
from chandlery.services.collect.files import SeriesFiles
from chandlery.services.collect.run import Bulk, Run, SeriesReport
from chandlery.services.judging import delivery_of
from chandlery.storage.coverage import Claim
from chandlery.storage.writer import SaveResult

_LANES = 6
"""Pages of one series under way at once: enough to keep the permitted rate over a slow line."""
_FILE_LANES = 2
"""Files of one series under way at once: one is stored while another comes."""

_ASK_FOR_CLAIM_EVERY_S = 0.5

_OF_ONE_SERIES = (DamagedDataError, ArchiveUnavailable)
"""The store answers; what cannot be read is a part of one series, and all others can be stored."""


class SeriesJob:
    """Collects one series for a run. A broken store fails the run; anything else fails this series alone."""

    def __init__(self, run: Run, instrument: Instrument, timeframe: Timeframe) -> None:
        self._run = run
        self._instrument = instrument
        self._series = Series(run.source.exchange, instrument.symbol, timeframe)
        self._report = SeriesReport(series=self._series)
        self._storing = asyncio.Lock()
        self._files = SeriesFiles(run, instrument, self._series)

    async def run(self) -> SeriesReport:
        """Collect what is missing. Never raises: the report, or the run's failure, says what went wrong."""
        self._run.progress.under_way.append(self._series)
        with error_log.about(self._series):
            try:
                await self._collect_when_claimed()
            except _OF_ONE_SERIES as error:
                await self._failed(error)
            except (DatabaseError, StorageError) as error:
                self._report.error = error
                self._run.fail(error)
            except ChandleryError as error:
                await self._failed(error)
        self._run.progress.under_way.remove(self._series)
        self._run.progress.series_done += 1
        self._run.moved()
        return self._report

    async def _collect_when_claimed(self) -> None:
        while not self._run.stopping.is_set():
            async with self._claim() as claim:
                if claim:
                    await self._collect(claim)
                    if claim or not self._report.missing:
                        return
            # another collector has the series, or may have taken it while our claim was lost; what he leaves is ours
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._run.stopping.wait(), _ASK_FOR_CLAIM_EVERY_S)

    @contextlib.asynccontextmanager
    async def _claim(self) -> AsyncIterator[Claim | bool]:
        claim = self._run.output.claim(self._series)
        claimed = await self._run.stored(claim.__enter__)
        try:
            yield claimed
        finally:
            await self._run.stored(claim.__exit__, None, None, None)

    async def _collect(self, claim: Claim | bool) -> None:
        await self._roll_up(claim)
        span = await self._span()
        if span is not None:
            self._report.wanted = span
            for begun in self._rounds():
                fetches = await self._run.unless_stopped(begun(await self._missing(span)))
                if fetches and claim:
                    await self._collect_all(fetches, claim)
            self._report.missing = await self._missing(span)
        self._report.finished = span is not None or not self._run.stopping.is_set()

    async def _roll_up(self, claim: Claim | bool) -> None:
        """Make what stored finer candles make; what they do not is fetched like everything else."""
        wanted, finer = self._run.wanted, self._run.wanted.source_of(self._series.timeframe)
        start, end = wanted.since or 0, min(wanted.until or self._run.now, self._run.now)
        if finer is None or start >= end:
            return
        steps = self._run.output.roll_up(self._series, finer, Span(start, end))
        while claim and not self._run.stopping.is_set():
            made = await self._run.stored(next, steps, None)
            if made is None:
                return
            self._report.derived += made.stored
            self._count(made)
            self._run.moved()

    def _rounds(self) -> Iterator[Callable[[Spans], Awaitable[list[Fetch]]]]:
        """Files of months, files of days, and pages: each is asked for what the ones before it left missing."""
        bulk = self._run.wanted.bulk
        if bulk is not Bulk.NEVER:
            for period in FilePeriod:
                yield partial(self._files.fetches, period)
        if bulk is not Bulk.ONLY:
            yield self._pages

    async def _pages(self, missing: Spans) -> list[Fetch]:
        return page_fetches(self._run.source, self._instrument, self._series, missing)

    async def _collect_all(self, fetches: list[Fetch], claim: Claim | bool) -> None:
        if self._run.output.oldest_first:
            fetches.reverse()
        self._run.progress.pages_planned += len(fetches)
        ahead = iter(fetches)
        most = _FILE_LANES if fetches[0].is_file else _LANES
        lanes = [self._lane(ahead, claim) for _ in range(min(most, len(fetches)))]
        outcomes = await asyncio.gather(*lanes, return_exceptions=True)
        self._count(await self._run.stored(self._run.output.finish, self._series))
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _lane(self, ahead: Iterator[Fetch], claim: Claim | bool) -> None:
        """Take the next fetch until none is left; a failure or a lost claim empties what is ahead: all lanes end."""
        try:
            for fetch in ahead:
                if not claim:
                    self._run.progress.pages_planned -= 1 + sum(1 for _ in ahead)
                    return
                with error_log.about(self._series, fetch.span):
                    page = await self._run.unless_stopped(fetch.answer())
                    if page is None:
                        return
                    async with self._storing:
                        self._count(await self._run.stored(self._store, fetch, page))
                self._report.pages += 1
                self._run.progress.pages_done += 1
                self._run.moved()
        except ChandleryError:
            for _ in ahead:
                pass
            raise

    def _store(self, fetch: Fetch, page: Page) -> SaveResult:
        delivery = delivery_of(page.rows, page.raw, now=self._run.now, answered=page.answered)
        result = self._run.output.save(delivery)
        if fetch.is_file:
            self._report.from_files += len(delivery.batch)
        return result

    def _count(self, result: SaveResult) -> None:
        self._report.result += result
        self._run.progress.result += result

    async def _span(self) -> Span | None:
        """What is wanted of this series: whole, closed bars that the exchange can have; None if there are none."""
        now, until = self._run.now, self._run.wanted.until
        end = self._series.timeframe.floor(now if until is None else min(until, now))
        start = await self._run.unless_stopped(self._start())
        return self._series.timeframe.aligned(Span(start, end)) if start is not None and start < end else None

    async def _start(self) -> UtcMs | None:
        """From where on: ``since``, but not before the beginning of history, which is probed once."""
        since = self._run.wanted.since
        beginning = await self._run.stored(self._run.output.beginning, self._series)
        if beginning is None and self._run.wanted.bulk is Bulk.ONLY:
            return self._run.source.files.first if since is None else since
        if beginning is None:
            if since is not None and await self._history_reaches(since):
                return since
            beginning = await self._found_beginning()
            if beginning is None:
                return None
        return beginning if since is None else max(since, beginning)

    async def _found_beginning(self) -> UtcMs | None:
        """Where the history begins, as the exchange proves; what is known of other timeframes says where to look."""
        async with self._run.probing(self._series.symbol):
            guesses = await self._run.stored(self._first_bars_of_others)
            beginning = await self._run.source.history_start(self._series, guesses)
            if beginning is not None:
                await self._run.stored(self._run.output.remember_beginning, self._series, beginning)
        return beginning

    def _first_bars_of_others(self) -> list[Span]:
        others = [replace(self._series, timeframe=timeframe) for timeframe in TIMEFRAMES.values()]
        known = [(other.timeframe, self._run.output.beginning(other)) for other in others]
        return [Span(start, timeframe.close_of(start)) for timeframe, start in known if start is not None]

    async def _history_reaches(self, since: UtcMs) -> bool:
        """Whether there is history at ``since``, as one look at the ledger or one request tells."""
        if self._series.timeframe.ceil(since) in await self._run.stored(self._run.output.covered, self._series):
            return True
        return await self._run.source.reaches_back_to(self._series, since)

    async def _missing(self, span: Span) -> Spans:
        return Spans([span]) - await self._run.stored(self._run.output.covered, self._series)

    async def _failed(self, error: ChandleryError) -> None:
        error_log.series_failed(error)
        self._report.error = error
        what = {"message": str(error), "class": type(error).__name__}
        try:
            await self._run.stored(self._run.output.remember_error, self._series, what)
            if self._report.wanted is not None:
                self._report.missing = await self._missing(self._report.wanted)
        except (DatabaseError, StorageError) as failure:
            self._run.fail(failure)
