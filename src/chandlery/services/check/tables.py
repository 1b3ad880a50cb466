"""Checking candles that are in no store of ours: a frame in memory, or a CSV file of whatever origin."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import Timeframe, UtcMs, timeframe
from chandlery.services.check.run import Report, Scope, check
from chandlery.services.check.shelves import TableShelf
from chandlery.storage.csv_lenient import read_file

if TYPE_CHECKING:
    import pandas as pd

NOBODY = "-"
"""Stands for the exchange of candles of which only a table is known."""


def check_frame(frame: pd.DataFrame, interval: str, *, name: str = "frame", now: UtcMs | None = None) -> Report:
    """Check the candles of one series in a frame, which may be in any order and hold anything.

    The columns may be called as for ``save_ohlcv_data``. ``now`` is UTC milliseconds, None is now. With no ledger to
    say what was asked for, every bar without a row is a gap; that the newest candle is old is not told of.
    Raises DataValidationError for a frame that cannot be understood as a whole.
    """
    from chandlery.storage.intake.frames import rows_from_frame

    given = rows_from_frame(frame, Series(NOBODY, name, timeframe(interval)))
    return check_table(TableShelf(given.rows, len(given.rejected)), Scope(), now)


def file_shelf(path: Path, bar: Timeframe, columns: Sequence[str] = ()) -> TableShelf:
    """The rows of a CSV file, compressed or not; ``columns`` names them where it has no header."""
    return TableShelf(*read_file(path, Series(NOBODY, path.name, bar), columns))


def check_table(shelf: TableShelf, scope: Scope, now: UtcMs | None = None) -> Report:
    """Check one table; where it ends is where it is wanted to end, unless ``scope`` says more."""
    until = shelf.end if scope.until is None else scope.until
    return check(
        shelf, Scope(since=scope.since, until=until), lambda: time.time_ns() // 1_000_000 if now is None else now
    )
