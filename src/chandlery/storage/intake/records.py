"""Candles as a list of dicts, of many series at once.

A record that names no series is refused by itself; so is one that lacks a column, where others have it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chandlery.domain.candle import RawText
from chandlery.domain.instrument import Series, canonical_symbol
from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, timeframe
from chandlery.errors import DataValidationError
from chandlery.storage.intake.columns import PlainColumn
from chandlery.storage.intake.packing import columns_of
from chandlery.storage.intake.tables import SPELLINGS, FrameRows, frame_rows, raw_text, read_table, spelled

Record = Mapping[str, Any]

_STRETCH = 4_096


class Refused(NamedTuple):
    """A record that belongs to no series: its text, and why."""

    raw: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordRows:
    """Records by series, each series in the order of the list, and those that belong to none."""

    by_series: dict[Series, FrameRows]
    refused: list[Refused]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Values by thing, of the records at ``positions``, and their own names."""

    values: dict[str, PlainColumn]
    names: dict[str, str]
    positions: npt.NDArray[np.int64]
    refused: dict[int, str]


def rows_from_records(
    records: Sequence[Record], exchange: str, intervals: Collection[str] = tuple(TIMEFRAMES)
) -> RecordRows:
    """The candles of many series in a list of dicts.

    Each has ``symbol``, ``interval`` or ``timeframe``, and the columns of ``rows_from_frame``. Only ``intervals`` are
    accepted. Raises DataValidationError for something that is no list of dicts, for columns that no record has, and
    for times that cannot be understood as a whole.
    """
    records = records if isinstance(records, list) else list(records)
    if not records:
        return RecordRows(by_series={}, refused=[])
    columns = _columns(records)
    keys, codes, refused = _grouped(columns, exchange, intervals)
    refused |= columns.refused
    table, positions = read_table(columns.values, columns.names), columns.positions
    if np.any(codes[1:] < codes[:-1]):  # bring each series together, in its order
        order = np.argsort(codes, kind="stable")
        table, positions, codes = table.take(order), positions[order], codes[order]
    edges = np.searchsorted(codes, np.arange(len(keys) + 1)).tolist()
    by_series = {
        series: frame_rows(table.take(slice(*rows)), series, _raw(records, positions[slice(*rows)]))
        for series, rows in zip(keys, pairwise(edges), strict=True)
    }
    return RecordRows(by_series=by_series, refused=[Refused(raw_text(records[i]), refused[i]) for i in sorted(refused)])


def _raw(records: list[Record], positions: npt.NDArray[np.int64]) -> RawText:
    return lambda row: raw_text(records[positions[row]])


def _columns(records: list[Any]) -> _Columns:
    """The records turned into columns: at once if all have the same keys, else one by one."""
    by_name = columns_of(records)
    if by_name is None:
        return _columns_of_many_shapes(records)
    names = spelled(by_name, SPELLINGS)
    values = {thing: by_name[name] for thing, name in names.items()}
    return _Columns(values=values, names=names, positions=np.arange(len(records)), refused={})


def _columns_of_many_shapes(records: list[Any]) -> _Columns:
    for number, kind in enumerate(map(type, records)):
        if not issubclass(kind, Mapping):
            raise DataValidationError(
                f"record number {number} is a {kind.__name__}, not a dict.",
                hint="A frame has frame.to_dict('records').",
            )
    shapes: dict[frozenset[Any], dict[str, str] | DataValidationError] = {}
    refused: dict[int, str] = {}
    accepted: list[tuple[int, dict[str, str]]] = []
    for position, record in enumerate(records):
        keys = frozenset(record)
        if keys not in shapes:
            shapes[keys] = _shape(record)
        shape = shapes[keys]
        if isinstance(shape, DataValidationError):
            refused[position] = str(shape)
        else:
            accepted.append((position, shape))
    if not accepted:
        raise next(shape for shape in shapes.values() if isinstance(shape, DataValidationError))
    names = {thing: name for _, shape in accepted for thing, name in shape.items()}
    absent = {"confirmed": True}
    values: dict[str, PlainColumn] = {
        thing: [records[n][shape[thing]] if thing in shape else absent.get(thing) for n, shape in accepted]
        for thing in names
    }
    return _Columns(values=values, names=names, positions=np.array([n for n, _ in accepted]), refused=refused)


def _shape(record: Record) -> dict[str, str] | DataValidationError:
    try:
        return spelled(record, SPELLINGS)
    except DataValidationError as error:
        return error


def _grouped(
    columns: _Columns, exchange: str, intervals: Collection[str]
) -> tuple[list[Series], npt.NDArray[np.int64], dict[int, str]]:
    """The series that occur, the number of each record's series (-1 for none), and why those have none."""
    symbols, symbol_codes = _factorized(columns.values["symbol"])
    names, name_codes = _factorized(columns.values["timeframe"])
    pairs = symbol_codes * len(names) + name_codes
    numbers: dict[Series, int] = {}
    code_of_pair = np.full(len(symbols) * len(names), -1)
    refused: dict[int, str] = {}
    for pair in np.flatnonzero(np.bincount(pairs)).tolist():
        symbol, name = symbols[pair // len(names)], names[pair % len(names)]
        try:
            series = Series(exchange, _symbol(symbol), _interval(name, intervals))
        except DataValidationError as error:
            refused |= dict.fromkeys(columns.positions[pairs == pair].tolist(), str(error))
        else:
            code_of_pair[pair] = numbers.setdefault(series, len(numbers))
    return list(numbers), code_of_pair[pairs], refused


def _factorized(column: PlainColumn) -> tuple[list[object], npt.NDArray[np.int64]]:
    """The distinct values in the order of their first occurrence, and the number of each row's value among them."""
    column = column.tolist() if isinstance(column, np.ndarray) else column
    numbers: dict[object, int] = {}
    codes = np.empty(len(column), dtype=np.int64)
    for start in range(0, len(column), _STRETCH):
        stretch = column[start : start + _STRETCH]
        try:
            # most lists come series by series
            distinct = dict.fromkeys(stretch[:1] if stretch.count(stretch[0]) == len(stretch) else stretch)
        except (TypeError, ValueError):  # something unhashable or without a truth, which can name nothing
            stretch = [value if isinstance(value, str) else ascii(value) for value in stretch]
            distinct = dict.fromkeys(stretch)
        of_each = [numbers.setdefault(value, len(numbers)) for value in distinct]
        codes[start : start + _STRETCH] = of_each[0] if len(of_each) == 1 else [numbers[value] for value in stretch]
    return list(numbers), codes


def _symbol(value: object) -> str:
    return canonical_symbol(value)  # type: ignore[arg-type]  # it says so itself if it is no text


def _interval(name: object, intervals: Collection[str]) -> Timeframe:
    found = timeframe(name if isinstance(name, str) else repr(name)[:80])
    if found.name not in intervals:
        raise DataValidationError(f"the interval {name} is not among the supported: {', '.join(intervals)}.")
    return found
