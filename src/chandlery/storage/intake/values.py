"""Reading prices and volumes: columns of doubles at once, text and decimals exactly or not at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chandlery.domain.candle import BoolArray, FloatArray
from chandlery.storage.intake.columns import PlainColumn, Readings

SAFE_DIGITS = 15
"""A decimal of up to this many significant digits comes back from a double unchanged."""

_EXACT_WHOLE = 2**53
_DECIMAL = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DECIMAL_TEXT = re.compile(_DECIMAL, re.ASCII)


def read_values(column: PlainColumn, name: str) -> Readings:
    """The numbers of a column as doubles, NaN where there is none.

    Text must be a plain decimal in ASCII: ``1_000``, ``0x10``, ``1,5`` and digits of other scripts are faults, and so
    are booleans and other objects.
    """
    if isinstance(column, np.ndarray):
        return _from_array(column, name)
    kinds = set(map(type, column))
    if kinds == {float}:
        return Readings(values=np.fromiter(column, np.float64, len(column)))
    kinds -= {type(None)}
    if kinds <= {str}:
        return _from_text(column, name)
    if all(map(_is_number, kinds)):
        return _from_numbers(column, name, kinds)
    return _one_by_one(column, name)


def _is_number(kind: type) -> bool:
    return issubclass(kind, (float, int, np.floating, np.integer)) and not issubclass(kind, bool)


def _from_array(column: npt.NDArray[Any], name: str) -> Readings:
    if column.dtype.kind == "f":
        return Readings(values=column.astype(np.float64, copy=False))
    if column.dtype.kind in "iu":
        rounded = column.astype(np.float64).astype(column.dtype) != column if _has_huge(column) else None
        return Readings(values=column.astype(np.float64), rounded=rounded)
    if column.dtype.kind in "US":
        return _one_by_one(column.tolist(), name)
    every_row = np.ones(len(column), dtype=np.bool_)
    return Readings(values=np.full(len(column), np.nan), faults=[(f"unreadable {name}", every_row)])


def _has_huge(column: npt.NDArray[Any]) -> bool:
    return bool(len(column)) and (int(column.max()) > _EXACT_WHOLE or int(column.min()) < -_EXACT_WHOLE)


def _from_numbers(column: Sequence[object], name: str, kinds: set[type]) -> Readings:
    try:
        values: FloatArray = np.array(column, dtype=np.float64)
    except OverflowError:  # a whole number of more than 308 digits
        return _one_by_one(column, name)
    if all(issubclass(kind, float) for kind in kinds):
        return Readings(values=values)
    huge = np.flatnonzero(np.abs(values) > _EXACT_WHOLE).tolist()
    return Readings(values=values, rounded=_mask(len(column), [row for row in huge if values[row] != column[row]]))


def _from_text(column: Sequence[object], name: str) -> Readings:
    try:
        text = pa.array(column, pa.string())
    except UnicodeEncodeError:
        return _one_by_one(column, name)
    told = pc.fill_null(pc.not_equal(text, ""), False)
    readable = pc.and_(told, pc.fill_null(pc.match_substring_regex(text, _DECIMAL), False))
    decimals = pc.if_else(readable, text, None)
    values: FloatArray = decimals.cast(pa.float64()).to_numpy(zero_copy_only=False)
    unreadable: BoolArray = pc.and_not(told, readable).to_numpy(zero_copy_only=False)
    long = pc.fill_null(pc.greater(pc.utf8_length(decimals), SAFE_DIGITS), False).to_numpy(zero_copy_only=False)
    changed = [row for row in np.flatnonzero(long).tolist() if changes_digits(Decimal(str(column[row])), values[row])]
    return Readings(values=values, faults=_fault(name, unreadable), rounded=_mask(len(column), changed))


def _one_by_one(column: Sequence[object], name: str) -> Readings:
    """The careful way, for columns of mixed objects."""
    values = np.full(len(column), np.nan)
    unreadable = np.zeros(len(column), dtype=np.bool_)
    changed: list[int] = []
    for row, value in enumerate(column):
        try:
            values[row], rounded = _number(value)
        except (TypeError, ValueError, OverflowError, InvalidOperation):
            unreadable[row] = True
        else:
            if rounded:
                changed.append(row)
    return Readings(values=values, faults=_fault(name, unreadable), rounded=_mask(len(column), changed))


def _number(value: object) -> tuple[float, bool]:
    """The double nearest to a value, and whether it is another number. Raises ValueError or TypeError for no number."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, str) and not value):
        return np.nan, False
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("a switch is no number")
    if isinstance(value, str) and not _DECIMAL_TEXT.fullmatch(value):
        raise ValueError("not a plain decimal")
    if not isinstance(value, (str, Decimal, float, int, np.floating, np.integer)):
        raise TypeError("not a number")
    number = float(value)
    if isinstance(value, (float, np.floating)):
        return number, False
    return number, changes_digits(Decimal(str(value)), number)


def changes_digits(exact: Decimal, stored: float) -> bool:
    """Whether the shortest text of the double is another number than the one given."""
    return exact.is_finite() and len(exact.as_tuple().digits) > SAFE_DIGITS and exact != Decimal(repr(float(stored)))


def _fault(name: str, rows: BoolArray) -> list[tuple[str, BoolArray]]:
    return [(f"unreadable {name}", rows)] if rows.any() else []


def _mask(length: int, rows: list[int]) -> BoolArray | None:
    if not rows:
        return None
    mask = np.zeros(length, dtype=np.bool_)
    mask[rows] = True
    return mask
