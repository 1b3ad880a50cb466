"""Repair: what a check found missing or suspicious is fetched again and stored, whatever the ledger says of it.

It is a collection like any other, with its claims, pages and revisions, into an output that says of the doubtful
spans that they are not covered, until they have been answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from chandlery.domain.instrument import Series
from chandlery.domain.quality import Finding, Rule
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import StorageError
from chandlery.exchange.source import CandleSource
from chandlery.services.check.shelves import Shelf
from chandlery.services.collect import Collector, Progress, SeriesReport, Wanted
from chandlery.services.outputs import Output
from chandlery.storage.writer import Delivery, SaveResult

REPAIRED = frozenset(
    {
        Rule.GAP_UNCOVERED,
        Rule.GAP_MISSING_ROWS,
        Rule.STALE,
        Rule.BROKEN_OHLC,
        Rule.TIMEFRAME_MISMATCH,
        Rule.EXCHANGE_MISMATCH,
        Rule.PRICE_SPIKE,
        Rule.PRICE_JUMP,
    }
)
"""What fetching again can mend; rows that should not be there are not fetched away."""

_EVER = Spans([Span(0, 2**53)])


@dataclass(slots=True, kw_only=True)
class Repair:
    """What a repair did. ``left_out`` are series that could not be repaired, each with the reason."""

    reports: list[SeriesReport] = field(default_factory=list)
    left_out: dict[Series, str] = field(default_factory=dict)

    def __add__(self, later: Repair) -> Repair:
        return Repair(reports=self.reports + later.reports, left_out=self.left_out | later.left_out)

    @property
    def result(self) -> SaveResult:
        """What was stored in all."""
        return sum((report.result for report in self.reports), SaveResult())


def doubtful(findings: Sequence[Finding]) -> dict[Series, Spans]:
    """What has to be fetched again, by series."""
    spans: dict[Series, list[Span]] = {}
    for found in findings:
        if found.rule in REPAIRED:
            for series in found.series:
                spans.setdefault(series, []).append(found.span)
    return {series: Spans(parts) for series, parts in spans.items()}


def new_doubts(before: Sequence[Finding], after: Sequence[Finding]) -> bool:
    """Whether ``after`` doubts anything that ``before`` did not, such as bars rolled up from candles that changed."""
    known = doubtful(before)
    return any(spans - known.get(series, Spans()) for series, spans in doubtful(after).items())


async def repair(
    source: CandleSource,
    output: Output,
    shelf: Shelf,
    findings: Sequence[Finding],
    *,
    concurrency: int = 4,
    watch: Callable[[Progress], None] = lambda _: None,
    started: Callable[[Collector], None] = lambda _: None,
) -> Repair:
    """Fetch again what ``findings`` doubt, from ``source`` into ``output``; ``started`` gets what can be stopped.

    Raises an ExchangeError if the exchange cannot even say what it lists, and whatever keeps the output from storing.
    """
    done = Repair()
    listed = {instrument.symbol for instrument in await source.instruments()}
    wanted: dict[Series, Spans] = {}
    for series, spans in doubtful(findings).items():
        reason = _why_not(series, source.exchange, listed, shelf)
        if reason is None:
            wanted[series] = spans
        else:
            done.left_out[series] = reason
    if wanted:
        doubting = _Doubting(output, wanted)
        collector = Collector(source, cast("Output", doubting), concurrency=concurrency, watch=watch)
        started(collector)
        reports = await collector.run(_wanted(wanted))
        done.reports = [report for report in reports if report.series in wanted]
    return done


def _why_not(series: Series, exchange: str, listed: set[str], shelf: Shelf) -> str | None:
    """Why a series cannot be repaired, or None."""
    if series.exchange != exchange:
        return f"its candles are {series.exchange}'s, and {exchange} was asked"
    if series.symbol not in listed:
        return f"{exchange} does not list it any more"
    broken: StorageError | None = shelf.broken(series)
    return str(broken) if broken else None


def _wanted(spans: Mapping[Series, Spans]) -> Wanted:
    """All of it in one: the output lets the collector see only what is doubtful."""
    whole = Spans(span for parts in spans.values() for span in parts).hull
    assert whole is not None
    timeframes = {series.timeframe.name for series in spans}
    return Wanted(
        symbols=sorted({series.symbol for series in spans}),
        timeframes=[timeframe for name, timeframe in TIMEFRAMES.items() if name in timeframes],
        # an instant before all doubt: so nobody has to look whether history reaches back that far
        since=max(0, whole.start - 1),
        until=whole.end,
    )


class _Doubting:
    """An output that covers everything but what is doubtful, and the doubtful once it was answered."""

    def __init__(self, output: Output, spans: Mapping[Series, Spans]) -> None:
        self._output = output
        self._open = dict(spans)
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)

    def covered(self, series: Series) -> Spans:
        """Everything else: the collection is of the doubtful only."""
        with self._lock:
            return _EVER - self._open.get(series, Spans())

    def save(self, delivery: Delivery) -> SaveResult:
        """Store it, and doubt it no longer."""
        result = self._output.save(delivery)
        series = delivery.batch.series
        with self._lock:
            self._open[series] = self._open.get(series, Spans()) - delivery.covered
        return result
