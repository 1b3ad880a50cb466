"""Archiving: sealed months as Parquet files in a folder or a bucket, each proved by reading it back.

A file counts from the moment the database names it, and not before. What is interrupted is done again, and gives the
same. No transaction is open while a file is on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import DamagedDataError, StorageError
from chandlery.services.seal import bars_of
from chandlery.storage import archive_places
from chandlery.storage.archived import ArchiveFile, decoded, description, encoded, file_name
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.kept import Kept, KeptSeries
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import identical

OnSpan = Callable[[Series, Span], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveReport:
    """Files written in this run, their candles and bytes; ``known`` stood there before, each registered already."""

    files: int = 0
    candles: int = 0
    bytes: int = 0
    known: int = 0

    def __add__(self, other: ArchiveReport) -> ArchiveReport:
        return ArchiveReport(
            files=self.files + other.files,
            candles=self.candles + other.candles,
            bytes=self.bytes + other.bytes,
            known=self.known + other.known,
        )


class Archiver:
    """Writes what is sealed into ``place``, a folder or ``s3://bucket/prefix``."""

    def __init__(self, storage: PostgreSQLStorage, place: str, on_span: OnSpan | None = None) -> None:
        """Raises ConfigurationError if the place cannot be one."""
        self._database = storage.database
        self._place = archive_places.place_of(place)
        self._on_span = on_span

    def archive(self, entry: LedgerEntry, *, before: UtcMs) -> ArchiveReport:
        """Every sealed month that closed ``before`` then and is not there yet. Raises StorageError, DatabaseError."""
        months = self._database.transact(lambda connection: _kept(connection, entry).sealed_months())
        report = ArchiveReport()
        for kept in months:
            if bars_of(entry.series.timeframe, kept.span).end <= before:
                report += self.archive_month(entry, kept)
        return report

    def archive_month(self, entry: LedgerEntry, kept: Kept) -> ArchiveReport:
        """One sealed month; nothing happens to it if it changes meanwhile. Raises StorageError, DatabaseError."""
        name = file_name(self._place, entry.series, kept.span)
        if kept.file is not None and kept.file.name == name:
            return ArchiveReport(known=1)
        if self._on_span is not None:
            self._on_span(entry.series, kept.span)
        moved = _moved(kept.file, name)
        candles = None if moved else self._candles(entry, kept)
        file = moved if candles is None else self._written(name, candles)
        if file is None or not self._registered(entry, kept, file):
            return ArchiveReport()
        return ArchiveReport(known=1) if moved else ArchiveReport(files=1, candles=kept.candles, bytes=file.size)

    def _candles(self, entry: LedgerEntry, kept: Kept) -> CandleBatch | None:
        return self._database.transact(lambda connection: _kept(connection, entry).sealed.candles_if_sealed(kept.span))

    def _registered(self, entry: LedgerEntry, kept: Kept, file: ArchiveFile) -> bool:
        return self._database.transact(lambda connection: _locked(connection, entry).register(kept, file))

    def _written(self, name: str, candles: CandleBatch) -> ArchiveFile:
        """Write a file and read it back."""
        data = encoded(candles)
        file = description(name, data)
        archive_places.put(name, data)
        if not identical(decoded(candles.series, file.fetched()), candles):
            raise StorageError(f"{name} does not give back the candles that were written.")
        return file


def _moved(known: ArchiveFile | None, name: str) -> ArchiveFile | None:
    """A file of another place that somebody has copied to this one."""
    if known is None:
        return None
    try:
        copied = ArchiveFile(name, known.size, known.sha256)
        copied.fetched()
    except (StorageError, DamagedDataError):
        return None
    return copied


def _kept(connection: psycopg.Connection, entry: LedgerEntry) -> KeptSeries:
    return KeptSeries(connection, entry.instrument_id, entry.series)


def _locked(connection: psycopg.Connection, entry: LedgerEntry) -> KeptSeries:
    held = _kept(connection, entry)
    held.lock()
    return held
