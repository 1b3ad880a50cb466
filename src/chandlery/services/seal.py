"""Sealing closed months, bringing their rows back, and proving that what is sealed is what was stored.

All is done span by span, each in a transaction of its own that holds the series' lock: it can be stopped at any moment,
goes on where it was, and runs beside collectors and readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from operator import add
from typing import TYPE_CHECKING

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.errors import DamagedDataError
from chandlery.storage.coverage import LedgerEntry, read_held
from chandlery.storage.partitions import Partitions, partitions_of
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import Sealed, SealedSeries, give_back_space, guard, identical, sealing_units

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True, slots=True)
class Unit:
    """A span of a series that is sealed as one; as text it is its name for people, ``BTC-USDT 1m 2024-01-01``."""

    series: Series
    span: Span

    def __str__(self) -> str:
        return f"{self.series} {to_datetime(self.span.start):%Y-%m-%d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """What was done: spans sealed or unsealed, their candles, and the bytes of new segments.

    ``rows_dropped`` are rows that live in segments alone now. The rest names what is sealed as one: ``repaired`` had
    damaged segments, which were dropped, and have rows; ``given_up`` had none, and are to be collected again;
    ``damaged`` have none either and were left as they are; ``passed_over`` hold rows written by hand that are no
    candles of their timeframe, and cannot be sealed.
    """

    spans: int = 0
    candles: int = 0
    bytes: int = 0
    rows_dropped: int = 0
    repaired: tuple[Unit, ...] = ()
    given_up: tuple[Unit, ...] = ()
    damaged: tuple[Unit, ...] = ()
    passed_over: tuple[Unit, ...] = ()

    def __add__(self, other: SealReport) -> SealReport:
        return SealReport(**{f.name: add(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)})


Work = Callable[[SealedSeries], SealReport]
OnSpan = Callable[[Series, Span], None]
EVER = Span(0, 4_102_444_800_000)
"""Until 2100."""


class Sealer:
    """Seals the series of a storage; ``on_span`` is told of each span before it is worked on."""

    def __init__(self, storage: PostgreSQLStorage, on_span: OnSpan | None = None) -> None:
        self._database = storage.database
        self._ledger = storage.ledger
        self._catalog = storage.catalog
        self._partitions = Partitions(storage.database)
        self._on_span = on_span

    def entries(self, symbols: Sequence[str] = (), timeframes: Sequence[str] = ()) -> list[LedgerEntry]:
        """The series of these symbols and timeframes; none given means all.

        Raises DataNotFoundError for a symbol of which nothing is stored.
        """
        entries = self._ledger.entries()
        wanted = self._catalog.among(symbols, [entry.series for entry in entries])
        return [
            entry
            for entry in entries
            if (not wanted or entry.series.symbol in wanted)
            and (not timeframes or entry.series.timeframe.name in timeframes)
        ]

    def seal(self, entry: LedgerEntry, *, before: UtcMs) -> SealReport:
        """Seal what is wholly covered, closed ``before`` then, and not sealed yet."""
        there = {sealed.span for sealed in self._sealed(entry)}
        report = SealReport()
        for unit in sealable(entry, entry.held, before):
            if unit not in there:
                report += self._in_lock(entry, unit, partial(_seal, entry=entry, unit=unit, before=before))
        return report

    def drop_rows(self, entry: LedgerEntry) -> SealReport:
        """Leave what is sealed to its segments alone, each proved first. Raises DamagedDataError."""
        kept = [sealed.span for sealed in self._sealed(entry) if sealed.rows_kept]
        report = SealReport()
        for unit in kept:
            report += self._in_lock(entry, unit, partial(_drop_rows, unit=unit))
        bar = entry.series.timeframe
        for name in {name for unit in kept for name, _ in partitions_of(bar, unit)}:
            self._database.transact(partial(give_back_space, partition=name))
        return report

    def unseal(self, entry: LedgerEntry, span: Span) -> SealReport:
        """Keep what is sealed and touched by ``span`` as rows alone again. Raises DamagedDataError."""
        report = SealReport()
        for sealed in self._sealed(entry, span):
            report += self._in_lock(entry, sealed.span, partial(_unseal, unit=sealed.span))
        return report

    def verify(self, entry: LedgerEntry, *, refetch: bool = False) -> SealReport:
        """Read every segment, and compare it with its rows where there are any.

        What is damaged and has rows is dropped, to be sealed anew. What has none stays as it is, or with ``refetch``
        is given up: the ledger claims its span no more, and so it is collected again.
        """
        report = SealReport()
        for sealed in self._sealed(entry):
            report += self._in_lock(entry, sealed.span, partial(_verify, unit=sealed.span, refetch=refetch))
        return report

    def _sealed(self, entry: LedgerEntry, span: Span = EVER) -> list[Sealed]:
        return self._database.transact(lambda connection: _held(connection, entry).spans(span))

    def _in_lock(self, entry: LedgerEntry, unit: Span, work: Work) -> SealReport:
        if self._on_span is not None:
            self._on_span(entry.series, unit)
        self._partitions.ensure(entry.series.timeframe, unit)
        self._guard(entry.series.timeframe, unit)

        def locked(connection: psycopg.Connection) -> SealReport:
            held = _held(connection, entry)
            held.lock()
            held.mind_segments()
            return work(held)

        return self._database.transact(locked)

    def _guard(self, timeframe: Timeframe, unit: Span) -> None:
        """In a transaction of its own: it must be over before anybody who wrote there can be sure to be seen."""
        self._database.transact(lambda connection: guard(connection, timeframe, unit))


def sealable(entry: LedgerEntry, known: Spans, before: UtcMs) -> list[Span]:
    """The spans to seal as one whose every bar has closed ``before`` then and is known, or precedes all history."""
    hull, bar = known.hull, entry.series.timeframe
    if hull is None:
        return []
    if entry.begins_at is not None and entry.begins_at > 0:
        known |= Spans([Span(0, entry.begins_at)])
    bars = {unit: bars_of(bar, unit) for unit in sealing_units(bar, hull)}
    return [unit for unit, span in bars.items() if span.end <= before and known.covers(span)]


def bars_of(timeframe: Timeframe, unit: Span) -> Span:
    """From the first bar that opens in ``unit`` to the close of the last; a week belongs to where it opens."""
    return Span(timeframe.ceil(unit.start), timeframe.ceil(unit.end))


def _held(connection: psycopg.Connection, entry: LedgerEntry) -> SealedSeries:
    return SealedSeries(connection, entry.instrument_id, entry.series)


def _seal(held: SealedSeries, entry: LedgerEntry, unit: Span, before: UtcMs) -> SealReport:
    known = read_held(held.connection, entry.instrument_id, entry.series)
    if _still_sealed(held, unit) or unit not in sealable(entry, known, before):
        return SealReport()
    try:
        candles = held.rows(unit)
    except ValueError:
        return SealReport(passed_over=(Unit(held.series, unit),))
    if not len(candles):
        return SealReport()
    return SealReport(spans=1, candles=len(candles), bytes=held.seal(unit, candles))


def _drop_rows(held: SealedSeries, unit: Span) -> SealReport:
    found = _still_sealed(held, unit)
    return SealReport(rows_dropped=held.drop_rows(unit) if found and found.rows_kept else 0)


def _unseal(held: SealedSeries, unit: Span) -> SealReport:
    found = _still_sealed(held, unit)
    if found is None:
        return SealReport()
    if found.rows_kept:
        held.drop_segments([unit])
        return SealReport(spans=1)
    return SealReport(spans=1, candles=held.bring_back(unit))


def _verify(held: SealedSeries, unit: Span, refetch: bool) -> SealReport:
    found = _still_sealed(held, unit)
    if found is None or _is_sound(held, found):
        return SealReport()
    named = (Unit(held.series, unit),)
    if not found.rows_kept and not refetch:
        return SealReport(damaged=named)
    held.drop_segments([unit])
    if found.rows_kept:
        return SealReport(repaired=named)
    held.forget_coverage(bars_of(held.series.timeframe, unit))
    return SealReport(given_up=named)


def _is_sound(held: SealedSeries, sealed: Sealed) -> bool:
    try:
        candles = held.candles(sealed.span)
    except DamagedDataError:
        return False
    return not sealed.rows_kept or identical(candles, held.rows(sealed.span))


def _still_sealed(held: SealedSeries, unit: Span) -> Sealed | None:
    """Now that the series is locked: somebody may have been here since we looked."""
    return next(iter(held.spans(unit)), None)
