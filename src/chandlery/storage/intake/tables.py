"""Candles as users hand them in, column by column: how the columns may be called, and which rows can be read.

What is judged here is only whether a row can be understood. Whether it makes a candle is the business of
``chandlery.domain.rules``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chandlery.domain.candle import COLUMNS, VALUE_COLUMNS, BoolArray, CandleRows, RawText, Rejected
from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import IntArray
from chandlery.errors import DataValidationError
from chandlery.storage.intake.columns import PlainColumn, Readings
from chandlery.storage.intake.times import NO_TIME_READ, read_times
from chandlery.storage.intake.values import read_values

MAX_RAW_LENGTH = 1_000

SPELLINGS: dict[str, tuple[str, ...]] = {
    "open_time": ("timestamp", "open_time", "ts", "date", "datetime"),
    "open": ("open", "open_price"),
    "high": ("high", "high_price"),
    "low": ("low", "low_price"),
    "close": ("close", "close_price"),
    "base_volume": ("volume", "base_volume"),
    "quote_volume": ("quote_volume",),
    "confirmed": ("confirmed", "confirm", "is_closed"),
    "symbol": ("symbol",),
    "timeframe": ("interval", "timeframe"),
}
"""How each thing may be called; the first is the name of it in messages."""

OPTIONAL = ("quote_volume", "confirmed")

_CONFIRMED = {
    True: True,
    False: False,
    "1": True,
    "0": False,
    "true": True,
    "false": False,
    "True": True,
    "False": False,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameRows:
    """What a user handed in for one series.

    ``rows`` could be read; ``raw(i)`` is the source's text of row i of them. ``rejected`` could not be read, or were
    not confirmed. ``rounded`` counts those of ``rows`` with a value of more than 15 significant digits that a double
    cannot hold. ``confirmed`` is True for each of ``rows`` where the source told, else None.
    """

    rows: CandleRows
    rejected: Rejected
    raw: RawText
    rounded: int
    confirmed: BoolArray | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Columns that were read, of one series or of many; ``faults`` and ``rounded`` are masks over its rows."""

    columns: dict[str, npt.NDArray[Any]]
    faults: list[tuple[str, BoolArray]]
    rounded: BoolArray | None
    confirmed_told: bool

    def __len__(self) -> int:
        return len(self.columns["open_time"])

    def take(self, positions: IntArray | slice) -> Table:
        """The rows at some positions."""
        return replace(
            self,
            columns={name: column[positions] for name, column in self.columns.items()},
            faults=[(reason, rows[positions]) for reason, rows in self.faults],
            rounded=None if self.rounded is None else self.rounded[positions],
        )


def spelled(names: Iterable[object], wanted: Iterable[str]) -> dict[str, str]:
    """Which of ``names`` each of the ``wanted`` things goes by; optional ones may be absent.

    Raises DataValidationError for a thing that is missing or stands there twice.
    """
    names = list(names)
    found = {thing: [name for name in names if name in SPELLINGS[thing]] for thing in wanted}
    for thing, spellings in found.items():
        if len(spellings) > 1:
            both = " and ".join(map(str, spellings))
            raise DataValidationError(f"{both} both say what the {SPELLINGS[thing][0]} is.", hint="Remove one of them.")
    missing = [thing for thing, spellings in found.items() if not spellings and thing not in OPTIONAL]
    if missing:
        expected = "; ".join(" or ".join(SPELLINGS[thing]) for thing in missing)
        present = ", ".join(str(name)[:40] for name in names[:30]) or "nothing"
        raise DataValidationError(f"columns are missing: {expected}.", hint=f"Found: {present}.")
    return {thing: str(spellings[0]) for thing, spellings in found.items() if spellings}


def read_table(columns: Mapping[str, PlainColumn], names: Mapping[str, str]) -> Table:
    """Read the columns of candles, given by thing; ``names`` are their own names, for messages."""
    readings = {"open_time": read_times(columns["open_time"], names["open_time"])}
    readings |= {thing: read_values(columns[thing], thing) for thing in VALUE_COLUMNS if thing in columns}
    return assembled(readings, columns.get("confirmed"))


def assembled(readings: Mapping[str, Readings], confirmed: PlainColumn | None) -> Table:
    """A table of columns that were read: ``open_time`` and values, NaN for those that are absent."""
    absent = Readings(values=np.full(len(readings["open_time"].values), np.nan))
    readings = {thing: readings.get(thing, absent) for thing in COLUMNS}
    faults = [fault for reading in readings.values() for fault in reading.faults]
    if confirmed is not None:
        faults += _unconfirmed(confirmed)
    rounded = [reading.rounded for reading in readings.values() if reading.rounded is not None]
    return Table(
        columns={thing: reading.values for thing, reading in readings.items()},
        faults=faults,
        rounded=np.logical_or.reduce(rounded) if rounded else None,
        confirmed_told=confirmed is not None,
    )


def _unconfirmed(column: PlainColumn) -> list[tuple[str, BoolArray]]:
    told = [_confirmed(value) for value in (column.tolist() if isinstance(column, np.ndarray) else column)]
    unconfirmed = np.array([value is False for value in told], dtype=np.bool_)
    unreadable = np.array([value is None for value in told], dtype=np.bool_)
    faults = [("unconfirmed", unconfirmed), ("unreadable confirmed", unreadable)]
    return [(reason, rows) for reason, rows in faults if rows.any()]


def _confirmed(value: Any) -> bool | None:
    try:
        return _CONFIRMED.get(value)
    except TypeError:  # unhashable
        return None


def frame_rows(table: Table, series: Series, raw: RawText) -> FrameRows:
    """The table's good rows, and the rejected ones with every reason; ``raw(i)`` is the text of the table's row i."""
    rejected = Rejected(series=series)
    if table.faults:
        bad = np.logical_or.reduce([rows for _, rows in table.faults])
        rejected = _rejected(table, series, np.flatnonzero(bad).tolist(), raw)
        good = np.flatnonzero(~bad)
        table, raw = table.take(good), _moved(raw, good)
    return FrameRows(
        rows=CandleRows.of(series, table.columns),
        rejected=rejected,
        raw=raw,
        rounded=0 if table.rounded is None else int(table.rounded.sum()),
        confirmed=np.ones(len(table), dtype=np.bool_) if table.confirmed_told else None,
    )


def _rejected(table: Table, series: Series, bad: list[int], raw: RawText) -> Rejected:
    times = table.columns["open_time"][bad].tolist()
    return Rejected(
        series=series,
        open_time=[None if time == NO_TIME_READ else time for time in times],
        reason=["; ".join(reason for reason, rows in table.faults if rows[row]) for row in bad],
        raw=[raw(row) for row in bad],
    )


def _moved(raw: RawText, positions: IntArray) -> RawText:
    return lambda row: raw(int(positions[row]))


def raw_text(row: Mapping[Any, Any]) -> str:
    """A row as JSON-like ASCII text of at most ``MAX_RAW_LENGTH`` characters, without a NUL."""
    try:
        text = json.dumps({str(name): value for name, value in row.items()}, default=_plain_text)
    except (TypeError, ValueError, RecursionError):
        text = ", ".join(f"{_shown(name)}: {_shown(value)}" for name, value in row.items())
    return text[:MAX_RAW_LENGTH]


def _shown(value: object) -> str:
    try:
        return ascii(value)[:MAX_RAW_LENGTH]
    except (ValueError, RecursionError):  # a number of thousands of digits, a list within itself
        return f"<{type(value).__name__}>"


def _plain_text(value: object) -> object:
    """What JSON cannot say: numpy's numbers as numbers, all else as text."""
    item: Callable[[], object] | None = getattr(value, "item", None)
    return item() if callable(item) and isinstance(value, (np.integer, np.floating, np.bool_)) else str(value)
