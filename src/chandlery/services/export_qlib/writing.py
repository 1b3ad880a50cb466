"""Writing: calendars, the list of instruments, and the values of one series piece by piece, each proved at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from chandlery.domain.candle import CandleBatch, FloatArray
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import IntArray
from chandlery.services.export_qlib.fields import FIELDS, Columns, Losses, dense
from chandlery.services.export_qlib.layout import (
    CALENDARS,
    FEATURES,
    FLOAT,
    INSTRUMENTS,
    MARKET,
    Calendar,
    bin_name,
    folder_of,
    freq_of,
    spelled,
    whole_days,
)
from chandlery.services.export_qlib.proving import Proof
from chandlery.services.export_qlib.reading import QlibFolder
from chandlery.services.export_qlib.report import SeriesReport
from chandlery.storage.reader import Reader

PIECE_BARS = 1 << 18
"""Bars at a time: what an export needs in memory does not grow with the length of a series."""


def write_calendar(root: Path, calendar: Calendar) -> None:
    """Write the file of one frequency."""
    path = root / CALENDARS / f"{freq_of(calendar.timeframe)}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii", newline="\n") as file:
        for start in range(0, len(calendar), PIECE_BARS):
            file.write(calendar.lines(start, start + PIECE_BARS))


def write_instruments(root: Path, spans: Mapping[str, Span]) -> None:
    """Write the list of all instruments; their spans are whole days, so that no bar of any frequency is cut off."""
    path = root / INSTRUMENTS / f"{MARKET}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{symbol}\t{chr(9).join(spelled(whole_days(span)))}\n" for symbol, span in spans.items()]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def write_series(reader: Reader, series: Series, span: Span, calendar: Calendar, folder: QlibFolder) -> SeriesReport:
    """Write all fields of one series into a folder that has its calendar, and prove them.

    Raises StorageError if they are not read back as they are.
    """
    tally, columns = _Tally(), Columns()
    proof = Proof(folder, folder_of(series.symbol), freq_of(series.timeframe))
    first, stop = calendar.row(span.start), calendar.row(span.end)
    with _open_bins(folder.root, series, first) as bins:
        for batch, piece in pieces(reader, series, span):
            exact = columns.of(batch)
            _append(bins, exact, calendar.rows(batch.open_time), calendar.row(piece.start), calendar.row(piece.end))
            tally.see(batch, exact)
            proof.check(batch, piece)
    proof.check_length(stop - first)
    return tally.report(series)


def pieces(reader: Reader, series: Series, span: Span) -> Iterator[tuple[CandleBatch, Span]]:
    """The candles of ``span`` in order, some at a time, each lot with the span that it was read for."""
    start = span.start
    while start < span.end:
        piece = Span(start, min(span.end, series.timeframe.shift(start, PIECE_BARS)))
        yield reader.candles(series, piece), piece
        start = piece.end


@contextlib.contextmanager
def _open_bins(root: Path, series: Series, first_row: int) -> Iterator[dict[str, BinaryIO]]:
    """The files of all fields, begun with the row of their first value."""
    folder = root / FEATURES / folder_of(series.symbol)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        bins: dict[str, BinaryIO] = {}
        for name in FIELDS:
            bins[name] = stack.enter_context((folder / bin_name(name, series.timeframe)).open("wb"))
            bins[name].write(np.array([first_row], dtype=FLOAT).tobytes())
        yield bins


def _append(
    bins: Mapping[str, BinaryIO], columns: Mapping[str, FloatArray], rows: IntArray, start: int, stop: int
) -> None:
    """Write the rows from ``start`` to before ``stop``, and let them be seen by whoever reads the files."""
    for name, file in bins.items():
        file.write(dense(columns[name], rows - start, stop - start).tobytes())
        file.flush()


@dataclass(slots=True)
class _Tally:
    """Counts what goes by."""

    first: int | None = None
    last: int | None = None
    candles: int = 0
    gaps: int = 0
    without_turnover: int = 0
    losses: Losses = field(default_factory=Losses)

    def see(self, batch: CandleBatch, exact: Mapping[str, FloatArray]) -> None:
        self.losses.see(exact)
        if not len(batch):
            return
        before = batch.open_time[:1] if self.last is None else np.array([self.last])
        numbers = batch.series.timeframe.ordinal(np.concatenate((before, batch.open_time)))
        self.gaps += int(np.count_nonzero(np.diff(numbers) > 1))
        self.candles += len(batch)
        self.without_turnover += int(np.count_nonzero(np.isnan(batch.quote_volume)))
        self.first = int(batch.open_time[0]) if self.first is None else self.first
        self.last = int(batch.open_time[-1])

    def report(self, series: Series) -> SeriesReport:
        first, last = self.first or 0, self.last or 0
        bars = series.timeframe.ordinal(last) - series.timeframe.ordinal(first) + 1
        return SeriesReport(
            exchange=series.exchange,
            symbol=series.symbol,
            timeframe=series.timeframe.name,
            freq=freq_of(series.timeframe),
            first=first,
            last=last,
            candles=self.candles,
            gaps=self.gaps,
            missing=bars - self.candles,
            without_turnover=self.without_turnover,
            losses=self.losses,
        )
