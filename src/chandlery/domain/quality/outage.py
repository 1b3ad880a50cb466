"""Outages: many instruments of one exchange quiet at once. One instrument alone is a quiet run and nothing more."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from chandlery.domain.instrument import Series
from chandlery.domain.quality.finding import Finding, Rule, finding
from chandlery.domain.span import Span, Spans

FEWEST = 2
"""Instruments that must be quiet at once."""

SHARE = 0.5
"""The share of the instruments looked at, at that time, that must be quiet at once."""

_EXPLAINED = 0.5
"""A quiet run belongs to an outage that fills at least this share of it."""


def outages(quiet: Mapping[Series, Spans], seen: Mapping[Series, Span]) -> list[Finding]:
    """The outages of all exchanges.

    ``quiet`` has the long quiet runs of each series, and the bars that the exchange answered with nothing; ``seen``
    the span in which each series was looked at, quiet or not.
    """
    found: list[Finding] = []
    for exchange in sorted({series.exchange for series in seen}):
        of_exchange = {series: span for series, span in seen.items() if series.exchange == exchange}
        quiet_here = {series: quiet.get(series, Spans()) for series in of_exchange}
        spans = _silent_together(quiet_here, of_exchange)
        found += [_finding(exchange, span, quiet_here, of_exchange) for span in spans]
    return found


def unexplained(findings: Iterable[Finding], outage: Sequence[Finding]) -> list[Finding]:
    """``findings`` without the quiet runs that an outage explains."""
    return [found for found in findings if found.rule != Rule.QUIET_RUN or not _explained(found, outage)]


def _explained(run: Finding, outage: Sequence[Finding]) -> bool:
    spans = Spans(found.span for found in outage if run.series[0] in found.series)
    return (Spans([run.span]) & spans).length >= _EXPLAINED * run.span.length


def _silent_together(quiet: Mapping[Series, Spans], seen: Mapping[Series, Span]) -> Spans:
    """The times at which enough of the instruments are quiet; the timeframes of one count as one."""
    silent: dict[str, list[Span]] = defaultdict(list)
    looked_at: dict[str, list[Span]] = defaultdict(list)
    for series, span in seen.items():
        silent[series.symbol] += quiet[series]
        looked_at[series.symbol].append(span)
    steps: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for which, spans_of in enumerate((silent, looked_at)):
        for spans in spans_of.values():
            for span in Spans(spans):
                steps[span.start][which] += 1
                steps[span.end][which] -= 1
    return Spans(_enough(steps))


def _enough(steps: Mapping[int, Sequence[int]]) -> Iterable[Span]:
    times = sorted(steps)
    silent = instruments = 0
    for start, end in itertools.pairwise(times):
        silent += steps[start][0]
        instruments += steps[start][1]
        if silent >= FEWEST and silent >= SHARE * instruments:
            yield Span(start, end)


def _finding(exchange: str, span: Span, quiet: Mapping[Series, Spans], seen: Mapping[Series, Span]) -> Finding:
    here = Spans([span])
    silenced = tuple(series for series in seen if quiet[series] & here)
    watched = sum(1 for looked_at in seen.values() if looked_at.intersection(span))
    message = f"{len(silenced)} of {watched} series of {exchange} without a trade at once"
    return finding(Rule.OUTAGE, silenced, span, len(silenced), message)
