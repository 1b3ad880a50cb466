"""The coverage map: time cut into equal cells, and for each series what is known in each of them.

A cell is one letter, so that a row of the map is a short text; the most worrying thing in a cell decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg

from chandlery.domain.candle import FloatArray
from chandlery.domain.instrument import Series
from chandlery.domain.quality.quiet import QuietCheck
from chandlery.domain.span import Span, Spans
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.pgtime import to_datetime, to_ms
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sql import query

OUTSIDE, GAP, PARTLY, COVERED, SEALED, RETIRED = ".gpcsr"
"""The letters of a cell: before the beginning or after the end, not covered, partly covered, covered, covered and
sealed, covered once and dropped after its term."""

MOST_BARS_LOOKED_AT = 200_000
"""Quiet runs can only be found by reading candles; a longer row is not looked through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """One series: a letter a cell, the share of its known time that is covered (0 to 1), its gaps in the map's span."""

    entry: LedgerEntry
    known: Span | None
    cells: str
    coverage: float
    gaps: Spans


def known_span(entry: LedgerEntry) -> Span | None:
    """From the beginning, proved or else the first covered instant, to the last covered one."""
    hull = entry.spans.hull
    return None if hull is None else Span(min(hull.start, entry.begins_at or hull.start), hull.end)


def coverage_map(storage: PostgreSQLStorage, entries: Sequence[LedgerEntry], span: Span, cells: int) -> list[MapRow]:
    """A row for each of ``entries``: ``span`` in ``cells`` cells."""
    sealed = _sealed_spans(storage, entries, span)
    return [_row(entry, sealed.get(entry.series, Spans()), span, cells) for entry in entries]


def quiet_runs(storage: PostgreSQLStorage, series: Series, span: Span) -> Spans | None:
    """Where a series was quiet for longer than is usual for it; None if ``span`` is too long to look through."""
    if series.timeframe.count(span) > MOST_BARS_LOOKED_AT:
        return None
    check = QuietCheck(series)
    check.feed(storage.reader.candles(series, span))
    return Spans(finding.span for finding in check.findings())


def _row(entry: LedgerEntry, sealed: Spans, span: Span, cells: int) -> MapRow:
    known = known_span(entry)
    whole = Spans([known]) if known else Spans()
    edges = np.linspace(span.start, span.end, cells + 1)
    lengths = [_length_by_cell(spans, edges) for spans in (whole, entry.spans, sealed & entry.held, entry.retired)]
    return MapRow(
        entry=entry,
        known=known,
        cells=_letters(*lengths),
        coverage=entry.spans.length / known.length if known else 0.0,
        gaps=(whole & Spans([span])) - entry.spans,
    )


def _letters(known: FloatArray, covered: FloatArray, sealed: FloatArray, retired: FloatArray) -> str:
    missing = known - covered > 0.5  # milliseconds
    choices = [known <= 0, covered <= 0, missing, retired * 2 > covered, sealed * 2 > covered]
    letters = np.select(choices, [ord(letter) for letter in (OUTSIDE, GAP, PARTLY, RETIRED, SEALED)], ord(COVERED))
    return bytes(letters.astype(np.uint8)).decode("ascii")


def _length_by_cell(spans: Spans, edges: FloatArray) -> FloatArray:
    """How many milliseconds of each cell are in ``spans``."""
    if not spans:
        return np.zeros(len(edges) - 1)
    bounds = np.array([bound for span in spans for bound in (span.start, span.end)], dtype=np.float64)
    lengths = np.diff(bounds)
    lengths[1::2] = 0  # between two spans
    reached = np.concatenate(([0.0], np.cumsum(lengths)))
    return np.diff(np.interp(edges, bounds, reached))


def _sealed_spans(storage: PostgreSQLStorage, entries: Sequence[LedgerEntry], span: Span) -> Mapping[Series, Spans]:
    parameters = {
        "instruments": [entry.instrument_id for entry in entries],
        "timeframes": [entry.series.timeframe.name for entry in entries],
        "start": to_datetime(span.start),
        "end": to_datetime(span.end),
    }

    def look(connection: psycopg.Connection) -> dict[int, list[Span]]:
        found: dict[int, list[Span]] = {}
        for number, start, end in connection.execute(query("sealed_of_many"), parameters):
            found.setdefault(number, []).append(Span(to_ms(start), to_ms(end)))
        return found

    return {entries[number - 1].series: Spans(found) for number, found in storage.database.transact(look).items()}
