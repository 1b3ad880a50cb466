"""Making what is missing of a series of the finer candles that are stored, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chandlery.domain.instrument import Series
from chandlery.domain.rollup import roll_up, whole_bars
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import SaveResult

_FINE_CANDLES = 100_000
"""Finer candles read at a time, about: memory does not grow with the length of a history."""


def rolled_up(storage: PostgreSQLStorage, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
    """Store the candles of ``series`` that the stored ``finer`` ones make in ``wanted``; each step is a transaction.

    Only bars that are not known and whose finer candles are known without a gap. May raise a DatabaseError.
    """
    known = storage.ledger.covered(replace(series, timeframe=finer)) & Spans([wanted])
    for span in whole_bars(series.timeframe, known - storage.ledger.covered(series)):
        for part in _parts(series.timeframe, finer, span):
            yield storage.writer.derive(series, finer, part)


def rolled_up_on_file(store: CsvStore, series: Series, finer: Timeframe, wanted: Span) -> Iterator[SaveResult]:
    """The same with CSV files, in one step, for a file is read as a whole anyway. May raise a StorageError.

    What is on file is all that is known: a bar that lacks one of its finer candles is not made.
    """
    source = replace(series, timeframe=finer)
    bars = whole_bars(series.timeframe, (store.spans(source) & Spans([wanted])) - store.spans(series))
    if bars.hull is not None:
        made, _ = roll_up(store.read(source, bars.hull.start, bars.hull.end), series.timeframe, bars)
        counts = store.save(made)
        yield SaveResult(inserted=counts.inserted, unchanged=counts.unchanged, revised=counts.revised)


def _parts(timeframe: Timeframe, finer: Timeframe, span: Span) -> Iterator[Span]:
    """``span`` cut into whole bars of ``timeframe``, as many as ``_FINE_CANDLES`` make, or one."""
    first, end = timeframe.ordinal(span.start), timeframe.ordinal(span.end)
    bars = max(1, _FINE_CANDLES * (end - first) // finer.count(span))
    for start in range(first, end, bars):
        yield Span(timeframe.open_at(start), timeframe.open_at(min(start + bars, end)))
