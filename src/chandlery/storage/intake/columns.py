"""A column as somebody hands it in, made plain: a numpy array of numbers or instants, or a list of Python objects.

pandas has many ways to hold the same numbers. After ``plain`` there are two kinds of column left, and whoever reads
numbers or times out of them need not know pandas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from chandlery.domain.candle import BoolArray
from chandlery.errors import DataValidationError

_KEPT_AS_OBJECTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_decimal, pa.types.is_boolean)

PlainColumn = npt.NDArray[Any] | list[object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """What was read from a column: ``values``, and for each fault the mask of the rows that have it.

    ``rounded`` masks the rows whose text or decimal has more digits than a double can hold; None for no row at all.
    """

    values: npt.NDArray[Any]
    faults: list[tuple[str, BoolArray]] = field(default_factory=list)
    rounded: BoolArray | None = None


def plain(column: pd.Series[Any], name: str) -> PlainColumn:
    """The column as an array without a copy where there is one, else as a list with None for what is missing.

    Instants come in UTC, without a zone. Raises DataValidationError for a column of something else than numbers,
    instants and objects.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.DatetimeTZDtype):
        return _array(column.dt.tz_convert(None))
    if isinstance(dtype, np.dtype):
        return _objects(column) if dtype.kind == "O" else _array(column)
    try:
        arrow = pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _unfit(name, dtype) from error
    return _from_arrow(arrow if isinstance(arrow, pa.Array) else arrow.combine_chunks(), name, dtype)


def _array(column: pd.Series[Any]) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = column.to_numpy()
    return values


def _objects(column: pd.Series[Any]) -> list[object]:
    missing = column.isna()
    objects: list[object] = (column.where(~missing, None) if missing.any() else column).tolist()
    return objects


def _from_arrow(arrow: pa.Array, name: str, dtype: object) -> PlainColumn:
    kind = arrow.type
    if pa.types.is_dictionary(kind):
        return _from_arrow(arrow.dictionary_decode(), name, dtype)
    if pa.types.is_integer(kind) and not arrow.null_count:
        return _numpy(arrow)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numpy(arrow.cast(pa.float64(), safe=False))
    if pa.types.is_timestamp(kind):
        return _numpy(arrow.cast(pa.timestamp(kind.unit)))
    if pa.types.is_date(kind):
        return _numpy(arrow.cast(pa.timestamp("ms")))
    if any(holds(kind) for holds in _KEPT_AS_OBJECTS):
        objects: list[object] = arrow.to_pylist()
        return objects
    raise _unfit(name, dtype)


def _numpy(arrow: pa.Array) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = arrow.to_numpy(zero_copy_only=False)
    return values


def _unfit(name: str, dtype: object) -> DataValidationError:
    return DataValidationError(
        f"the column {name} holds {dtype}, which can be neither a number nor a time.",
        hint="Convert it to float64, or to datetime64 for times.",
    )
