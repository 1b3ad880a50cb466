"""The end of a Parquet file that is put together out of pages of others, as it is read and never kept.

A file says in its footer where each column lies. With a footer of our own the pages of one column of many segments are
one column to the decoder, which then works through all of them in one call. The footer is a Thrift struct in the
compact protocol; the numbers of its fields are those of ``parquet.thrift`` in the Parquet format, version 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

MAGIC = b"PAR1"
"""How every Parquet file begins and ends."""

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
_STOP = b"\0"
_INT64, _DOUBLE = 2, 5
_DELTA_BINARY_PACKED, _BYTE_STREAM_SPLIT = 5, 9
_UNCOMPRESSED = 0
_FORMAT = 2
_MOST_IN_LIST = 14
"""Up to so many the number fits in half a byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredColumn:
    """A column whose pages lie one after another: doubles, or else whole numbers, of 64 bits each."""

    name: str
    doubles: bool
    nullable: bool
    offset: int
    size: int


def footer(rows: int, columns: Sequence[StoredColumn]) -> bytes:
    """What makes a Parquet file of ``rows`` rows out of the pages of ``columns``, at most 13, before it."""
    root = _struct((4, _BINARY, _text("candles")), (5, _I32, _number(len(columns))))
    schema = _list(_STRUCT, [root, *map(_in_schema, columns)])
    chunks = _list(_STRUCT, [*map(partial(_chunk, rows), columns)])
    size = sum(column.size for column in columns)
    group = _struct((1, _LIST, chunks), (2, _I64, _number(size)), (3, _I64, _number(rows)))
    file = _struct(
        (1, _I32, _number(_FORMAT)),
        (2, _LIST, schema),
        (3, _I64, _number(rows)),
        (4, _LIST, _list(_STRUCT, [group])),
    )
    return file + len(file).to_bytes(4, "little") + MAGIC


def _in_schema(column: StoredColumn) -> bytes:
    kind, repetition = _kind(column), int(column.nullable)
    return _struct((1, _I32, _number(kind)), (3, _I32, _number(repetition)), (4, _BINARY, _text(column.name)))


def _chunk(rows: int, column: StoredColumn) -> bytes:
    encoding = _BYTE_STREAM_SPLIT if column.doubles else _DELTA_BINARY_PACKED
    about = _struct(
        (1, _I32, _number(_kind(column))),
        (2, _LIST, _list(_I32, [_number(encoding)])),
        (3, _LIST, _list(_BINARY, [_text(column.name)])),
        (4, _I32, _number(_UNCOMPRESSED)),
        (5, _I64, _number(rows)),
        (6, _I64, _number(column.size)),
        (7, _I64, _number(column.size)),
        (9, _I64, _number(column.offset)),
    )
    return _struct((2, _I64, _number(column.offset)), (3, _STRUCT, about))


def _kind(column: StoredColumn) -> int:
    return _DOUBLE if column.doubles else _INT64


def _struct(*fields: tuple[int, int, bytes]) -> bytes:
    """Fields by ascending number: each begins with the step from the one before and its type."""
    encoded = bytearray()
    before = 0
    for number, kind, value in fields:
        encoded.append(number - before << 4 | kind)  # no field here is 16 or more away from the one before
        encoded += value
        before = number
    return bytes(encoded) + _STOP


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    if len(items) > _MOST_IN_LIST:
        raise ValueError(f"{len(items)} items, where a list of at most {_MOST_IN_LIST} can be written")
    return bytes([len(items) << 4 | kind]) + b"".join(items)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _varint(len(encoded)) + encoded


def _number(number: int) -> bytes:
    """Not negative; the lowest bit is for the sign."""
    return _varint(number << 1)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
