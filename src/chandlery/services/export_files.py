"""Export: stored series into files for other programs, a file a series, a month of minutes in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series, slashed_symbol
from chandlery.domain.span import Span
from chandlery.domain.timeframe import DAY_MS, HOUR_MS, TIMEFRAMES, Timeframe, UtcMs
from chandlery.errors import DataNotFoundError, DataValidationError
from chandlery.storage.candle_files import FileFormat, write_file
from chandlery.storage.coverage import LedgerEntry
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.partitions import table_of
from chandlery.storage.pgtime import to_ms
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which candles: empty collections mean all; ``start`` and ``end`` are UTC milliseconds, None for no bound."""

    symbols: Collection[str] = ()
    timeframes: Collection[Timeframe] = ()
    exchange: str | None = None
    start: UtcMs | None = None
    end: UtcMs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """A file that was written: its ``candles`` and its size in ``bytes``."""

    series: Series
    path: Path
    candles: int
    bytes: int


def export_files(
    storage: PostgreSQLStorage,
    folder: Path,
    kind: FileFormat,
    wanted: Wanted,
    *,
    overwrite: bool = False,
    done: Callable[[ExportedFile], None] = lambda _: None,
) -> list[ExportedFile]:
    """Write every wanted series that has candles into a file of ``folder``, named as the CSV store names its files.

    Each file is whole when it appears; a run that ends early leaves whole files. Raises DataValidationError if a file
    is there already and may not be overwritten, before anything is written; DataNotFoundError for a symbol of which
    nothing is stored, or if nothing is stored of all that is wanted; StorageError, DatabaseError.
    """
    storage.require_schema()
    entries = _entries(storage, wanted)
    paths = {entry.series: file_of(folder, entry.series, kind) for entry in entries}
    there = [path for path in paths.values() if path.exists()]
    if there and not overwrite:
        raise DataValidationError(
            f"{there[0]} exists{f', and {len(there) - 1} more' if len(there) > 1 else ''}.",
            hint="Export into another folder, or give --overwrite.",
        )
    written: list[ExportedFile] = []
    for entry in entries:
        path = paths[entry.series]
        count, size = write_file(path, kind, _batches(storage, entry, wanted))
        if count:
            written.append(ExportedFile(series=entry.series, path=path, candles=count, bytes=size))
            done(written[-1])
    if not written:
        raise nothing_to_export()
    return written


def nothing_to_export() -> DataNotFoundError:
    """The error of every export that would write nothing."""
    return DataNotFoundError("no candle is stored of what is to be exported.", hint="See: chandlery status")


def file_of(folder: Path, series: Series, kind: FileFormat) -> Path:
    """``BTC-USDT_1m.parquet``; ``1M`` is ``1mo`` in file names, and other exchanges have folders of their own.

    Files for freqtrade have its names: ``BTC_USDT-1m.feather``, ``futures/BTC_USDT_USDT-1m-futures.feather``.
    """
    plain = CsvStore(folder).path(series)
    return plain.parent / _freqtrade_name(series) if kind == "freqtrade" else plain.with_suffix(f".{kind}")


def _freqtrade_name(series: Series) -> str:
    pair = slashed_symbol(series.symbol)
    stem = f"{re.sub('[/:.]', '_', pair)}-{series.timeframe.name.replace('M', 'Mo')}"
    return f"futures/{stem}-futures.feather" if ":" in pair else f"{stem}.feather"


def _entries(storage: PostgreSQLStorage, wanted: Wanted) -> list[LedgerEntry]:
    entries = [entry for entry in storage.ledger.entries() if wanted.exchange in (None, entry.series.exchange)]
    symbols = storage.catalog.among(wanted.symbols, [entry.series for entry in entries])
    chosen = [entry for entry in entries if not symbols or entry.series.symbol in symbols]
    bars = wanted.timeframes or TIMEFRAMES.values()
    return [entry for entry in chosen if entry.series.timeframe in bars]


def _batches(storage: PostgreSQLStorage, entry: LedgerEntry, wanted: Wanted) -> Iterator[CandleBatch]:
    """The stored candles, piece by piece; pieces without any are left out."""
    extent = _extent(storage, entry)
    for span in _pieces(entry.series.timeframe, extent) if extent else ():
        start, end = max(span.start, wanted.start or 0), min(span.end, wanted.end or span.end)
        batch = storage.reader.candles(entry.series, Span(start, end)) if start < end else None
        if batch is not None and len(batch):
            yield batch


def _extent(storage: PostgreSQLStorage, entry: LedgerEntry) -> Span | None:
    """All that can be stored: what the ledger knows, and what somebody put into the table by hand."""
    series = entry.series
    parameters = {"instrument_id": entry.instrument_id, "timeframe": series.timeframe.name}

    def look(connection: psycopg.Connection) -> Span | None:
        row = connection.execute(query("series_extent", table=table_of(series.timeframe)), parameters).fetchone()
        if row is None or row[0] is None:
            return None
        return Span(to_ms(row[0]), series.timeframe.close_of(to_ms(row[1])))

    known = [span for span in (entry.spans.hull, storage.database.transact(look)) if span is not None]
    if not known:
        return None
    return Span(min(span.start for span in known), max(span.end for span in known))


def _pieces(timeframe: Timeframe, extent: Span) -> Iterator[Span]:
    """Months of minutes, four years of hours, everything else at once: at most some 45,000 candles."""
    step = timeframe.step_ms or DAY_MS
    month = TIMEFRAMES["1M"]
    months = 1 if step < HOUR_MS else 48 if step < DAY_MS else 12_000
    start = month.floor(extent.start)
    while start < extent.end:
        end = month.shift(start, months)
        yield Span(start, end)
        start = end
