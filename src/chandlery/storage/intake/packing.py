"""The columns of a list of dicts.

The records are taken a few thousand at a time, while they are at hand for the processor, and packed by a MessagePack
encoder. Packed numbers of one type have one width, so the bytes are a numpy array, and every number brings its type
along, which is compared for all of them at once. That takes a quarter of the time of asking each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from chandlery.storage.intake.columns import PlainColumn

_KIND_OF_TAG = {0xCB: ">f8", 0xCF: ">u8"}
"""Numbers that take a tag and eight bytes: floats, and whole numbers of more than 32 bits, such as milliseconds."""

_UNPACKABLE = (TypeError, ValueError, OverflowError, RecursionError)
_pack = msgspec.msgpack.Encoder().encode


def columns_of(records: Sequence[Any], *, at_a_time: int = 4_096) -> dict[Any, PlainColumn] | None:
    """The values of each key in all records, in their order, or None if they are not dicts of the same keys.

    Floats, and whole numbers of more than 32 bits, come as arrays, all else as lists.
    """
    pieces: list[dict[Any, PlainColumn]] = []
    for start in range(0, len(records), at_a_time):
        some = records[start : start + at_a_time]
        kinds = set(map(type, some))
        if not all(issubclass(kind, Mapping) for kind in kinds):
            return None
        piece = (_alike(some) if kinds == {dict} else None) or _one_by_one(some)
        if piece is None or (pieces and piece.keys() != pieces[0].keys()):
            return None
        pieces.append(piece)
    return {name: _joined([piece[name] for piece in pieces]) for name in pieces[0]}


def _alike(records: Sequence[dict[Any, Any]]) -> dict[Any, PlainColumn] | None:
    """The columns of records that differ in numbers only, as those of one series do; None if they are others."""
    first, last = records[0], records[-1]
    if any(value != last.get(name) for name, value in first.items() if isinstance(value, str)):
        return None
    try:
        packed, pattern = _pack(records), _pack(first)
        parts = [(name, _pack(name), _pack(value)) for name, value in first.items()]
    except _UNPACKABLE:
        return None
    rows = _elements(packed, len(records), np.dtype((np.uint8, len(pattern))))
    if rows is None:
        return None
    equal = (rows == np.frombuffer(pattern, np.uint8)).all(axis=0)
    columns: dict[Any, PlainColumn] = {}
    end = len(pattern) - sum(len(key) + len(value) for _, key, value in parts)
    for name, key, value in parts:
        start, end = end + len(key) + 1, end + len(key) + len(value)
        kind = _KIND_OF_TAG.get(value[0])
        if kind is None:
            columns[name] = [first[name]] * len(records)
        else:
            equal[start:end] = True
            columns[name] = _native(np.ndarray(len(rows), kind, packed, _header(len(rows)) + start, rows.strides[:1]))
    return columns if np.all(equal) else None


def _one_by_one(records: Sequence[Mapping[Any, Any]]) -> dict[Any, PlainColumn] | None:
    """The same for records of any values; None if their keys differ."""
    if len(set(map(len, records))) > 1:
        return None
    try:
        columns = {name: list(map(itemgetter(name), records)) for name in records[0]}
    except KeyError:
        return None
    return {name: _numbers(values) for name, values in columns.items()}


def _numbers(values: list[Any]) -> PlainColumn:
    """The values as an array if all of them are numbers of the same type and width, else as they are."""
    if type(values[0]) not in (float, int):
        return values
    try:
        packed, tag = _pack(values), _pack(values[0])[0]
    except _UNPACKABLE:
        return values
    kind = _KIND_OF_TAG.get(tag)
    numbers = _elements(packed, len(values), np.dtype([("tag", "u1"), ("value", kind)])) if kind else None
    if numbers is None or not np.all(numbers["tag"] == tag):
        return values
    return _native(numbers["value"])


def _elements(packed: bytes, count: int, layout: np.dtype[Any]) -> npt.NDArray[Any] | None:
    """A packed list as an array, if its elements can be of one width."""
    if len(packed) != _header(count) + count * layout.itemsize:
        return None
    return np.frombuffer(packed, dtype=layout, offset=_header(count))


def _header(count: int) -> int:
    """How many bytes stand before the first element of a packed list of up to 65,535."""
    return 1 if count < 16 else 3


def _native(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return numbers.astype(numbers.dtype.newbyteorder("="))


def _joined(pieces: list[PlainColumn]) -> PlainColumn:
    arrays = [piece for piece in pieces if isinstance(piece, np.ndarray)]
    if len(arrays) == len(pieces) and len({piece.dtype for piece in arrays}) == 1:
        return np.concatenate(arrays)
    values: list[object] = []
    for piece in pieces:
        values += piece.tolist() if isinstance(piece, np.ndarray) else piece
    return values
