"""The CSV store: one file a series, which any program can read and no crash can spoil.

New candles at the end of a file are appended: written behind the last whole line, and flushed to the disk before the
call returns. If something goes down in between, the file ends with a line without its newline: readers do not see
it, and the next write leaves it out. Every other change replaces the file as a whole, by renaming. What is on file is
what is covered, so whatever was lost is simply collected again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fasteners
import numpy as np

from chandlery.domain.candle import COLUMNS, CandleBatch, nothing_new
from chandlery.domain.instrument import Series, canonical_symbol
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import TIMEFRAMES, UtcMs
from chandlery.errors import DataNotFoundError, DataValidationError, StorageError
from chandlery.storage.csv_format import HEADER, decode, encode, intact_length

PLAIN_EXCHANGE = "okx"
"""Its files stand in the folder itself, those of every other exchange in a folder of that name within."""

_APPEND_AT_MOST = 1 << 20
_EXCHANGE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
# 1m and 1M must differ where file names do not mind case
_FILE_TIMEFRAME = {name: "1mo" if name == "1M" else name for name in TIMEFRAMES}
_TIMEFRAME_OF_FILE = {in_file: name for name, in_file in _FILE_TIMEFRAME.items()}

_THREAD_LOCKS: dict[Path, threading.Lock] = {}
_THREAD_LOCKS_GUARD = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvCounts:
    """What saving a batch did, in candles: new ones, ones that were there already, ones that had other values."""

    inserted: int = 0
    unchanged: int = 0
    revised: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The ``spans`` of a file's candles when it had this ``signature``, and whether its last line was ``whole``."""

    signature: tuple[int, int, int]
    whole: bool
    spans: Spans


class CsvStore:
    """Candles in the CSV files of one folder. Safe to share between threads and between processes.

    Every method may raise StorageError: a file that cannot be read or written, one that is damaged (with the line),
    or one that another process keeps locked for ``lock_timeout_s`` seconds.
    """

    def __init__(self, folder: Path | str, *, lock_timeout_s: float = 30.0) -> None:
        self.folder = Path(folder)
        self._lock_timeout_s = lock_timeout_s
        self._known: dict[Path, _Known] = {}

    def __repr__(self) -> str:
        return f"CsvStore({str(self.folder)!r})"

    def path(self, series: Series) -> Path:
        """The file of a series. Raises DataValidationError for one whose names can be no file."""
        if canonical_symbol(series.symbol) != series.symbol or not _EXCHANGE.fullmatch(series.exchange):
            raise DataValidationError(f"{series.exchange!r} {series.symbol!r} cannot name a file.")
        folder = self.folder if series.exchange == PLAIN_EXCHANGE else self.folder / series.exchange
        return folder / f"{series.symbol}_{_FILE_TIMEFRAME[series.timeframe.name]}.csv"

    def save(self, batch: CandleBatch) -> CsvCounts:
        """Merge a batch into its file; where both have a candle, the batch's values win.

        Nothing is written if nothing changes. Raises DataValidationError for a value that is no finite number.
        """
        path, lines = self.path(batch.series), encode(batch)
        if not lines:
            return CsvCounts()
        with self._locked(path), _translated(path, "written"):
            known = self._look(path, batch.series)
            if known and known.whole and len(lines) <= _APPEND_AT_MOST and _follows(batch, known.spans):
                _append(path, lines)
                self._remember(path, known.spans | batch.runs())
                return CsvCounts(inserted=len(batch))
            stored = _load(path, batch.series) if known else CandleBatch.empty(batch.series)
            merged, counts = _merge(stored, batch)
            if counts.inserted or counts.revised:
                _replace(path, HEADER + encode(merged))
                self._remember(path, merged.runs())
            return counts

    def read(self, series: Series, start: UtcMs | None = None, end: UtcMs | None = None) -> CandleBatch:
        """The candles that open in ``[start, end)``, UTC milliseconds; None is no bound.

        Raises DataNotFoundError if there is no file of the series.
        """
        path = self.path(series)
        with _translated(path, "read"):
            if not path.exists():
                raise DataNotFoundError(f"there is no file of {series} in {self.folder}.", hint="Collect it first.")
            batch = _load(path, series)
        first = 0 if start is None else int(np.searchsorted(batch.open_time, start))
        last = len(batch) if end is None else int(np.searchsorted(batch.open_time, end))
        return batch.take(slice(first, max(first, last)))

    def spans(self, series: Series) -> Spans:
        """The spans that the candles on file fill; none for a series without a file."""
        path = self.path(series)
        with _translated(path, "read"):
            known = self._look(path, series)
        return known.spans if known else Spans()

    def beginning(self, series: Series) -> UtcMs | None:
        """The start of the exchange's history as it was once proved, or None."""
        note = self._beginning_note(series)
        with _translated(note, "read"):
            text = note.read_text() if note.exists() else ""
        return int(text) if text.strip().isdecimal() else None

    def remember_beginning(self, series: Series, begins_at: UtcMs) -> None:
        """Keep the proved start of history in a small file beside the candles, so that it is probed once."""
        note = self._beginning_note(series)
        with _translated(note, "written"):
            note.parent.mkdir(parents=True, exist_ok=True)
            _replace(note, f"{begins_at}\n".encode())

    def _beginning_note(self, series: Series) -> Path:
        path = self.path(series)
        return path.parent / ".beginnings" / path.stem

    def series(self) -> list[Series]:
        """Every series that has a file, sorted by name; files of other names are none of ours."""
        with _translated(self.folder, "read"):
            files = [(PLAIN_EXCHANGE, path) for path in self.folder.glob("*.csv")]
            files += [(path.parent.name, path) for path in self.folder.glob("*/*.csv")]
            found = [_series_of(exchange, path.stem) for exchange, path in files if path.is_file()]
        return sorted(filter(None, found), key=lambda series: (series.exchange, str(series)))

    def _look(self, path: Path, series: Series) -> _Known | None:
        """What is in the file, without reading it again if it has not changed; None if there is no file."""
        if not path.exists():
            return None
        signature, known = _signature(path), self._known.get(path)
        if known is None or known.signature != signature:
            data = path.read_bytes()
            length = _whole(data, path)
            spans = decode(data[:length] or HEADER, series, path).runs()
            known = _Known(signature=signature, whole=0 < length == len(data), spans=spans)
            self._known[path] = known
        return known

    def _remember(self, path: Path, spans: Spans) -> None:
        self._known[path] = _Known(signature=_signature(path), whole=True, spans=spans)

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Keep other threads and other processes from writing the same file."""
        with _THREAD_LOCKS_GUARD:  # the lock between processes does not part the threads of one
            thread_lock = _THREAD_LOCKS.setdefault(path.resolve(), threading.Lock())
        with contextlib.ExitStack() as stack:
            busy = StorageError(
                f"{path} has been locked by another writer for {self._lock_timeout_s:g} s.",
                hint="Wait for the other run to end; if there is none, it still holds the lock until it is gone.",
            )
            if not thread_lock.acquire(timeout=self._lock_timeout_s):
                raise busy
            stack.callback(thread_lock.release)
            lock = fasteners.InterProcessLock(path.parent / ".locks" / f"{path.name}.lock")
            with _translated(path, "locked"):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not lock.acquire(timeout=self._lock_timeout_s):
                    raise busy
            stack.callback(lock.release)
            yield


def _series_of(exchange: str, stem: str) -> Series | None:
    symbol, _, in_file = stem.rpartition("_")
    name = _TIMEFRAME_OF_FILE.get(in_file)
    with contextlib.suppress(DataValidationError):
        if name and canonical_symbol(symbol) == symbol and _EXCHANGE.fullmatch(exchange):
            return Series(exchange, symbol, TIMEFRAMES[name])
    return None


def _follows(batch: CandleBatch, spans: Spans) -> bool:
    return spans.hull is None or int(batch.open_time[0]) >= spans.hull.end


def _merge(stored: CandleBatch, batch: CandleBatch) -> tuple[CandleBatch, CsvCounts]:
    """Both in one, the batch's values where both have a candle."""
    places = np.searchsorted(stored.open_time, batch.open_time)
    known = np.isin(batch.open_time, stored.open_time)
    same = nothing_new(batch.take(known), stored.take(places[known]))
    news = ~known
    news[known] = ~same
    kept = np.ones(len(stored), dtype=np.bool_)
    kept[places[news & known]] = False
    parts = (stored.take(kept), batch.take(news))
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    order = np.argsort(columns["open_time"], kind="stable")
    merged = CandleBatch.of(batch.series, {name: column[order] for name, column in columns.items()})
    unchanged = int(same.sum())
    counts = CsvCounts(
        inserted=len(batch) - int(known.sum()), unchanged=unchanged, revised=int(known.sum()) - unchanged
    )
    return merged, counts


def _load(path: Path, series: Series) -> CandleBatch:
    data = path.read_bytes()
    return decode(data[: _whole(data, path)] or HEADER, series, path)


def _whole(data: bytes, path: Path) -> int:
    """The length of the whole lines; a file without any must at least begin as ours do, or it is somebody else's."""
    length = intact_length(data, _APPEND_AT_MOST)
    if not length and not HEADER.startswith(data):
        raise StorageError(f"{path} is not one of chandlery's CSV files.", hint="Move it away.")
    return length


def _append(path: Path, lines: bytes) -> None:
    """Write lines behind the file's last one and wait until they are on the disk."""
    with path.open("ab", buffering=0) as file:
        length = file.tell()
        try:
            written = file.write(lines)
            if written < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(length)
            raise


def _replace(path: Path, data: bytes) -> None:
    """Put a whole new file in the place of the old one: at every moment there is one or the other."""
    new = path.with_name(f".{path.name}.new")  # nobody else uses the name: the file is locked
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _signature(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def _translated(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except (OSError, threading.ThreadError) as error:
        why = getattr(error, "strerror", None) or error
        raise StorageError(
            f"{path} cannot be {action}: {why}.", hint="Look at the disk and the permissions."
        ) from error
