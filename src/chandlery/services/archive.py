"""Archiving: sealed months as Parquet files in a folder or a bucket, each proved by reading it back.

A file counts from the moment the database names it, and not before. What is interrupted is done again, and gives the
same. Files of other bytes have other names, so archivers side by side need to know nothing of each other. No
transaction is open while a file is on its way.
"""

from __future__ import annotations

import re
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
from chandlery.storage.archived import ArchiveFile, decoded, encoded, file_of, folder_of
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.kept import Kept, KeptSeries
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import identical

OnSpan = Callable[[Series, Span], None]

_OURS = re.compile(r"(\d{4}-\d{2})(\.[0-9a-f]{16})?\.parquet")
"""How a file is called: by its month, and by its bytes but for those of the first version."""


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
        due = [kept for kept in months if bars_of(entry.series.timeframe, kept.span).end <= before]
        report = sum((self._archive(entry, kept) for kept in due), ArchiveReport())
        if report.known < len(due):
            self._show_current(entry)
        return report

    def archive_month(self, entry: LedgerEntry, kept: Kept) -> ArchiveReport:
        """One sealed month; nothing happens to it if it changes meanwhile. Raises StorageError, DatabaseError."""
        report = self._archive(entry, kept)
        if not report.known:
            self._show_current(entry)
        return report

    def _archive(self, entry: LedgerEntry, kept: Kept) -> ArchiveReport:
        folder = folder_of(self._place, entry.series)
        if kept.file is not None and _stands_in(folder, kept.file):
            return ArchiveReport(known=1)
        if self._on_span is not None:
            self._on_span(entry.series, kept.span)
        moved = _moved(kept.file, folder)
        candles = None if moved else self._candles(entry, kept)
        file = moved if candles is None else _written(folder, kept.span, candles)
        if file is None or not self._registered(entry, kept, file):
            return ArchiveReport()
        return ArchiveReport(known=1) if moved else ArchiveReport(files=1, candles=kept.candles, bytes=file.size)

    def _candles(self, entry: LedgerEntry, kept: Kept) -> CandleBatch | None:
        return self._database.transact(lambda connection: _kept(connection, entry).sealed.candles_if_sealed(kept.span))

    def _registered(self, entry: LedgerEntry, kept: Kept, file: ArchiveFile) -> bool:
        return self._database.transact(lambda connection: _locked(connection, entry).register(kept, file))

    def _show_current(self, entry: LedgerEntry) -> None:
        """Set aside what is out of date or was too late: other programs read all files of a folder as one table."""
        folder = folder_of(self._place, entry.series)

        def put_right(connection: psycopg.Connection) -> None:
            current = _current(_locked(connection, entry), folder)
            for old, new in _renamings(current, archive_places.names_in(folder)):
                archive_places.rename(f"{folder}/{old}", f"{folder}/{new}")

        current = self._database.transact(lambda connection: _current(_kept(connection, entry), folder))
        if _renamings(current, archive_places.names_in(folder)):
            self._database.transact(put_right)  # nobody names another file meanwhile


def _written(folder: str, unit: Span, candles: CandleBatch) -> ArchiveFile:
    """Write a file and read it back."""
    data = encoded(candles)
    file = file_of(folder, unit, data)
    archive_places.put(file.name, data)
    if not identical(decoded(candles.series, file.fetched()), candles):
        raise StorageError(f"{file.name} does not give back the candles that were written.")
    return file


def _current(held: KeptSeries, folder: str) -> set[str]:
    """What those files are called in ``folder`` that the database names."""
    files = [kept.file for kept in held.sealed_months()]
    return {_called(file) for file in files if file is not None and _stands_in(folder, file)}


def _renamings(current: set[str], there: set[str]) -> list[tuple[str, str]]:
    """What to rename, so that of each month of which a file is ``current`` that one can be seen and no other.

    A file may have been set aside by somebody who looked just before the database named it.
    """
    months = {name.partition(".")[0] for name in current}
    aside = archive_places.ASIDE
    outdated = [name for name in there - current if (ours := _OURS.fullmatch(name)) and ours[1] in months]
    hidden = [name for name in current - there if name + aside in there]
    return [(name, name + aside) for name in outdated] + [(name + aside, name) for name in hidden]


def _stands_in(folder: str, file: ArchiveFile) -> bool:
    return file.name == f"{folder}/{_called(file)}"


def _called(file: ArchiveFile) -> str:
    return file.name.rpartition("/")[2]


def _moved(known: ArchiveFile | None, folder: str) -> ArchiveFile | None:
    """A file of another place that somebody has copied to this one."""
    if known is None:
        return None
    try:
        copied = ArchiveFile(f"{folder}/{_called(known)}", known.size, known.sha256)
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
