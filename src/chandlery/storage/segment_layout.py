"""What is known of a segment without its bytes: which candles it holds, and where in its file they lie.

The candles stand in groups, so that a short span is read without the rest of its month; and within a group column by
column, so that one column is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chandlery.domain.candle import COLUMNS
from chandlery.domain.span import Span
from chandlery.domain.timeframe import IntArray, UtcMs


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of a segment without its bytes.

    Times are UTC milliseconds; ``step_ms`` is the length of a bar, None where bars differ in length. ``checksum`` is
    the CRC-32 of the file. The candles stand in groups of as many rows, but for the last. The file falls into pieces,
    group by group one a column in the order of ``COLUMNS``, and at last the footer: piece ``i`` lies between
    ``bounds[i]`` and ``bounds[i + 1]``, and ``checksums[i]`` is its CRC-32.
    """

    rows: int
    first: UtcMs
    last: UtcMs
    step_ms: int | None
    bounds: tuple[int, ...]
    checksums: tuple[int, ...]
    checksum: int

    @property
    def unbroken(self) -> bool:
        """Whether bar follows bar, so that the times are known without being read."""
        return self.step_ms is not None and self.last - self.first == (self.rows - 1) * self.step_ms

    def rows_in(self, span: Span) -> range | None:
        """Which candles open in ``span``; None if only the times themselves can tell."""
        if span.start <= self.first and self.last < span.end:
            return range(self.rows)
        if self.step_ms is None or not self.unbroken:
            return None
        # the number of bars that open before a time, rounded up
        start, end = (-((self.first - time) // self.step_ms) for time in (span.start, span.end))
        return range(min(max(start, 0), self.rows), min(max(end, 0), self.rows))

    @property
    def all_pieces(self) -> range:
        """The run of pieces that is the whole file."""
        return range(len(self.checksums))

    @property
    def groups(self) -> int:
        """How many groups of rows there are."""
        return len(self.checksums) // len(COLUMNS)

    @property
    def rows_of_group(self) -> int:
        """How many candles stand in every group but the last."""
        return -(-self.rows // self.groups)

    def groups_of(self, rows: range) -> range:
        """The groups that hold ``rows``."""
        return range(rows.start // self.rows_of_group, -(-rows.stop // self.rows_of_group))

    def columns_read(self, columns: Iterable[str], span: Span) -> set[str]:
        """What has to be decoded for ``columns``: no times where they are known, but those that tell ``span``."""
        names = {*columns}
        if self.unbroken:
            return names - {"open_time"}
        return names | {"open_time"} if self.rows_in(span) is None else names

    def groups_read(self, span: Span) -> range:
        """The groups that hold what opens in ``span``; all if only the times themselves can tell."""
        rows = self.rows_in(span)
        return self.groups_of(range(self.rows) if rows is None else rows)

    def rows_read(self, span: Span) -> int:
        """How many candles stand in those groups."""
        groups = self.groups_read(span)
        return min(groups.stop * self.rows_of_group, self.rows) - groups.start * self.rows_of_group

    def pieces_of(self, columns: Iterable[str], span: Span) -> list[range]:
        """The pieces that hold ``columns`` of the candles that open in ``span``: runs of neighbours, the footer too."""
        names = {*columns}
        if names != {*COLUMNS}:  # else the times come along, as one run costs less than many
            names = self.columns_read(names, span)
        within = sorted(map(COLUMNS.index, names))
        footer = len(self.checksums) - 1
        return _runs(
            [*(group * len(COLUMNS) + column for group in self.groups_read(span) for column in within), footer]
        )

    def most_rows_in(self, span: Span) -> int:
        """How many candles open in ``span``, or more if that is not known."""
        rows = self.rows_in(span)
        return self.rows if rows is None else len(rows)


def rows_between(times: IntArray, span: Span) -> range:
    """Which of ascending ``times`` lie in ``span``."""
    return range(*np.searchsorted(times, [span.start, span.end]).tolist())


def _runs(numbers: Sequence[int]) -> list[range]:
    """Ascending numbers, neighbours taken together."""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs
