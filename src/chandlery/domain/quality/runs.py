"""Bars that follow one another, kept as their first and last: what a year leaves behind when it has been looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import IntArray, Timeframe

_NONE = np.zeros(0, dtype=np.int64)


class Runs:
    """Runs of numbered bars, fed in pieces that ascend; a run may go on from one piece into the next.

    Each marked row may carry ``bits``; a run has those of all its rows.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[IntArray, IntArray, IntArray, IntArray]] = []

    def add(self, ordinals: IntArray, bits: IntArray | None = None) -> None:
        """Mark the rows of these bars: numbers that never descend, and may repeat."""
        if not len(ordinals):
            return
        begin = np.concatenate(([0], np.flatnonzero(np.diff(ordinals) > 1) + 1))
        end = np.concatenate((begin[1:], [len(ordinals)]))
        marks = np.zeros(len(ordinals), dtype=np.int64) if bits is None else bits
        self._pieces.append((ordinals[begin], ordinals[end - 1], end - begin, np.bitwise_or.reduceat(marks, begin)))

    def merged(self) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """First bars, last bars, numbers of rows and bits of all runs."""
        if not self._pieces:
            return _NONE, _NONE, _NONE, _NONE
        first, last, count, bits = (np.concatenate(column) for column in zip(*self._pieces, strict=True))
        begin = np.concatenate(([0], np.flatnonzero(first[1:] - last[:-1] > 1) + 1))
        end = np.concatenate((begin[1:], [len(first)]))
        return first[begin], last[end - 1], np.add.reduceat(count, begin), np.bitwise_or.reduceat(bits, begin)

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        """First bar, last bar, number of rows and bits of each run."""
        return zip(*(column.tolist() for column in self.merged()), strict=True)

    def spans(self, timeframe: Timeframe) -> Spans:
        """The time that the runs fill."""
        return Spans(bars(timeframe, first, last) for first, last, *_ in self)


def bars(timeframe: Timeframe, first: int, last: int) -> Span:
    """From the open of bar number ``first`` to the close of bar number ``last``."""
    return Span(timeframe.open_at(first), timeframe.open_at(last + 1))
