"""Collecting: for each series fetch what is wanted and not covered, and store every page as it comes.

    missing = wanted - covered

Resuming, extending to either side, repairing a hole and finding nothing to do are all this one subtraction. Memory
does not grow with the length of a run, and a run can be killed at any moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from chandlery.domain.instrument import Instrument, Series
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import Timeframe
from chandlery.errors import DatabaseError, StorageError
from chandlery.exchange.source import CandleSource
from chandlery.services.collect.run import Progress, Run, SeriesReport, Wanted
from chandlery.services.collect.series import SeriesJob
from chandlery.services.listed import chosen, delisted, not_listed_any_more
from chandlery.services.outputs import Output


def _nobody_watches(_: Progress) -> None:
    pass


class Collector:
    """Collects from one source into one output."""

    def __init__(
        self,
        source: CandleSource,
        output: Output,
        *,
        concurrency: int = 4,
        watch: Callable[[Progress], None] = _nobody_watches,
    ) -> None:
        """``concurrency`` is how many series are under way at once; the rate of requests is the source's affair."""
        self._source = source
        self._output = output
        self._concurrency = concurrency
        self._watch = watch
        self._run: Run | None = None
        self._stopped = False

    def stop(self) -> None:
        """Begin no further page; ``run`` returns when those under way are stored, or their store does not answer."""
        self._stopped = True
        self._output.give_up()
        if self._run is not None:
            self._run.stopping.set()

    async def run(self, wanted: Wanted) -> list[SeriesReport]:
        """Collect everything wanted; a report a series, in the order asked for, those of delisted instruments last.

        A failure of one series stands in its report and does not stop the others. There are no reports if it was
        stopped before it knew what the exchange lists. Raises DataNotFoundError for a symbol that the exchange does
        not list and of which nothing is stored, naming near ones, and whatever keeps the output from storing.
        """
        run = self._run = Run(self._source, self._output, wanted, self._watch)
        if self._stopped:
            run.stopping.set()
        reports: list[SeriesReport] = []
        try:
            listed = await run.unless_stopped(self._source.instruments())
            now = await run.unless_stopped(self._source.now(fresh=True))
            if listed is None or now is None:
                return reports  # stopped before anything was known
            run.now = now
            gone = await self._delisted(run, listed)
            left = {report.series.symbol for report in gone}
            there = [symbol for symbol in wanted.symbols if symbol not in left]
            instruments = chosen(there, listed, self._source.exchange)
            await run.stored(self._output.prepare, instruments)
            run.progress.series_planned = len(instruments) * len(wanted.timeframes)
            await run.stored(self._output.started, _described(wanted))
            reports += [*await asyncio.gather(*self._begun(run, instruments)), *gone]
            if run.failure is not None:
                raise run.failure
            await run.stored(self._output.ended, _outcome(run, reports), run.progress.pages_done, run.progress.result)
        except (DatabaseError, StorageError):
            if not self._stopped:
                raise
        finally:
            run.close()
            self._output.take_heart()
        return reports

    async def _delisted(self, run: Run, listed: Sequence[Instrument]) -> list[SeriesReport]:
        async def covered(series: Series) -> Spans:
            return await run.stored(self._output.covered, series)

        wanted = run.wanted
        gone = await delisted(wanted.symbols, wanted.timeframes, listed, self._source.exchange, covered)
        return [SeriesReport(series=series, error=not_listed_any_more(series)) for series in gone]

    def _begun(self, run: Run, instruments: Sequence[Instrument]) -> list[asyncio.Task[SeriesReport]]:
        """A task a series, in the order asked for; what is made of another series waits until that is collected."""
        turns, wanted = asyncio.Semaphore(self._concurrency), run.wanted
        finest = wanted.roll_up_from if wanted.roll_up_from in wanted.timeframes else None
        tasks: dict[tuple[Instrument, Timeframe], asyncio.Task[SeriesReport]] = {}

        async def take_turn(instrument: Instrument, timeframe: Timeframe) -> SeriesReport:
            if finest is not None and wanted.source_of(timeframe) == finest:
                await asyncio.wait([tasks[instrument, finest]])
            async with turns:
                return await SeriesJob(run, instrument, timeframe).run()

        for timeframe in sorted(dict.fromkeys(wanted.timeframes), key=lambda one: one != finest):
            for instrument in instruments:
                tasks[instrument, timeframe] = asyncio.create_task(take_turn(instrument, timeframe))
        return [tasks[instrument, timeframe] for instrument in instruments for timeframe in wanted.timeframes]


def _described(wanted: Wanted) -> str:
    """A run in a line, for the table ``run``: the first few symbols stand for all."""
    shown = ", ".join(wanted.symbols[:10]) + (
        f" and {len(wanted.symbols) - 10} more" if len(wanted.symbols) > 10 else ""
    )
    return f"collect {shown} in {', '.join(timeframe.name for timeframe in wanted.timeframes)}"


def _outcome(run: Run, reports: Sequence[SeriesReport]) -> str:
    if all(report.complete for report in reports):
        return "complete"
    return "interrupted" if run.stopping.is_set() else "incomplete"
