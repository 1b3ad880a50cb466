"""PostgreSQL's binary form of candles, which are rows of fixed width.

Every column of a candle has a fixed width, the timeframe included within one series. So a numpy structured array *is*
the COPY stream: no row is ever encoded or decoded by itself. The stream is a header, the rows, and a trailer; a row is
a 16-bit field count and, for each field, a 32-bit length and the value, all big-endian.

The stream comes in blocks that take less time to encode than the server needs for what is on its way already: it never
waits for us.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import numpy as np

from chandlery.domain.candle import VALUE_COLUMNS, BoolArray, CandleBatch, CandleRows
from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import IntArray, Timeframe
from chandlery.errors import MisplacedRowError
from chandlery.storage.pgtime import PG_EPOCH_MS, to_datetime

HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
TRAILER = b"\xff\xff"
_ROWS_A_BLOCK = 4_096

_BIG_ENDIAN = {"timestamptz": ">i8", "float8": ">f8", "int4": ">i4", "bool": "?"}
Field = tuple[str, str]
"""A column's name and its type; a text of n bytes is ``text:n``."""

_STORED_FIELDS: list[Field] = [("open_time", "timestamptz"), *((name, "float8") for name in VALUE_COLUMNS)]


def candle_stream(batch: CandleRows, instrument_id: int) -> Iterator[bytes]:
    """The candles as a COPY stream for the columns of ``insert_candles``."""
    return stream_of_many(batch.series.timeframe, batch.columns(), instrument_id)


def stream_of_many(
    timeframe: Timeframe, columns: Mapping[str, np.ndarray], instrument_ids: IntArray | int
) -> Iterator[bytes]:
    """The same for candles of several instruments: ``instrument_ids`` has the number of each row's instrument."""
    name = timeframe.name.encode()
    fields = [*_STORED_FIELDS, ("instrument_id", "int4"), ("timeframe", f"text:{len(name)}")]
    values = {**columns, "instrument_id": instrument_ids, "timeframe": name}
    return _stream(fields, values, len(columns["open_time"]))


def revision_stream(old: CandleRows, new: CandleRows, replaced: BoolArray, instrument_id: int) -> Iterator[bytes]:
    """Both versions of the same candles, and which take the place, for the columns of ``insert_revisions``."""
    name = new.series.timeframe.name.encode()
    fields: list[Field] = [("open_time", "timestamptz")]
    columns: dict[str, Any] = {"open_time": new.open_time, "replaced": replaced}
    columns |= {"instrument_id": instrument_id, "timeframe": name}
    for age, rows in (("old", old), ("new", new)):
        for value in VALUE_COLUMNS:
            fields.append((f"{age}_{value}", "float8"))
            columns[f"{age}_{value}"] = getattr(rows, value)
    fields += [("replaced", "bool"), ("instrument_id", "int4"), ("timeframe", f"text:{len(name)}")]
    return _stream(fields, columns, len(new))


def candles_from(rows: bytes, series: Series) -> CandleBatch:
    """The candles in the value that ``stored_candles`` makes: their columns, row after row, and nothing between.

    Raises MisplacedRowError if one is no candle of the series, as rows written by hand may be.
    """
    stored = np.frombuffer(rows, dtype=[(name, _BIG_ENDIAN[kind]) for name, kind in _STORED_FIELDS])
    _refuse_misplaced(stored["open_time"], series)
    columns = {name: stored[name] for name in VALUE_COLUMNS}
    return CandleBatch.of(series, {"open_time": stored["open_time"] // 1000 + PG_EPOCH_MS, **columns})


def _refuse_misplaced(pg_times: np.ndarray, series: Series) -> None:
    """No constraint of the tables knows where bars open, so the first row that is none is named here."""
    open_time = pg_times // 1000 + PG_EPOCH_MS
    misplaced = np.flatnonzero((pg_times % 1000 != 0) | (series.timeframe.floor(open_time) != open_time))
    if len(misplaced):
        first = misplaced[0]
        moment = to_datetime(int(open_time[first])) + timedelta(microseconds=int(pg_times[first] % 1000))
        raise MisplacedRowError(
            f"the row of {series} at {moment} is no candle: no bar of {series.timeframe} opens then.",
            hint="It was written by hand: delete it from chandlery.candle by SQL. "
            f"All such rows are shown by: chandlery check {series.symbol} --timeframe {series.timeframe}",
        )


def stored_form(candles: CandleRows) -> bytes:
    """The value that ``stored_candles`` makes of these candles: the reverse of ``candles_from``."""
    rows = np.empty(len(candles), dtype=[(name, _BIG_ENDIAN[kind]) for name, kind in _STORED_FIELDS])
    rows["open_time"] = (candles.open_time - PG_EPOCH_MS) * 1000
    for name in VALUE_COLUMNS:
        rows[name] = getattr(candles, name)
    return rows.tobytes()


def _stream(fields: list[Field], columns: Mapping[str, Any], count: int) -> Iterator[bytes]:
    """A column is an array, or the one value of all rows."""
    layout = _layout(fields)
    rows = np.empty(min(count, _ROWS_A_BLOCK), dtype=layout)
    rows["#"] = len(fields)
    for name, _ in fields:
        rows[f"#{name}"] = layout[name].itemsize
        if not isinstance(columns[name], np.ndarray):
            rows[name] = columns[name]
    arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    yield HEADER
    for start in range(0, count, _ROWS_A_BLOCK):
        block = rows[: count - start]
        for name, column in arrays.items():
            part = column[start : start + len(block)]
            block[name] = (part - PG_EPOCH_MS) * 1000 if name == "open_time" else part
        yield block.tobytes()
    yield TRAILER


def _layout(fields: list[Field]) -> np.dtype[np.void]:
    return np.dtype(list(_layout_parts(fields)))


def _layout_parts(fields: list[Field]) -> Iterator[tuple[str, str]]:
    yield "#", ">i2"
    for name, kind in fields:
        yield f"#{name}", ">i4"
        yield name, f"S{kind.removeprefix('text:')}" if kind.startswith("text:") else _BIG_ENDIAN[kind]
