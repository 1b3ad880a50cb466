"""The cells of many lines as columns of numbers and times: whole columns at once where all of them can be read.

The fast way has the CSV reader itself make doubles and whole numbers of the cells. It is taken for a block in which
everything is as it should be; a single cell that is no number sends the block the careful way, which says which.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from chandlery.domain.candle import VALUE_COLUMNS, BoolArray
from chandlery.storage.intake.columns import Readings
from chandlery.storage.intake.tables import Table, assembled
from chandlery.storage.intake.values import SAFE_DIGITS, changes_digits, read_values
from chandlery.storage.sources.lines import Lines
from chandlery.storage.sources.moments import UTC, Clock, moments_of, read_moments

_SAFE_WIDTH = SAFE_DIGITS + 1
"""A cell of so many characters, one of them the point, has no more digits than a double holds."""


def read_cells(lines: Lines, delimiter: str, places: dict[str, int], clock: Clock) -> Table:
    """The columns of candles that stand at ``places``, read, with the faults of each row."""
    confirmed = texts(lines, delimiter, [places["confirmed"]])[0] if "confirmed" in places else None
    readings = _at_once(lines, delimiter, places, clock) or _carefully(lines, delimiter, places, clock)
    if confirmed is None or pc.all(pc.equal(confirmed, "1")).as_py():
        return assembled(readings, None)
    return assembled(readings, confirmed.to_pylist())


def texts(lines: Lines, delimiter: str, places: Iterable[int]) -> list[pa.StringArray]:
    """Some columns as text without space around it."""
    places = list(places)
    table = _parsed(lines, delimiter, dict.fromkeys(places, pa.string()))
    return [pc.ascii_trim_whitespace(table[str(place)].combine_chunks()) for place in places]


def _parsed(lines: Lines, delimiter: str, kinds: dict[int, pa.DataType]) -> pa.Table:
    names = [str(place) for place in range(lines.ends.shape[1])]
    if not len(lines):
        return pa.table({str(place): pa.array([], kind) for place, kind in kinds.items()})
    return pa_csv.read_csv(
        pa.BufferReader(lines.text),
        pa_csv.ReadOptions(column_names=names, block_size=1 << 20),
        pa_csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False),
        pa_csv.ConvertOptions(
            column_types={str(place): kind for place, kind in kinds.items()},
            include_columns=[str(place) for place in kinds],
            null_values=[""],
            strings_can_be_null=False,
        ),
    )


def _at_once(lines: Lines, delimiter: str, places: dict[str, int], clock: Clock) -> dict[str, Readings] | None:
    """All columns by the CSV reader, or None if there is a cell that it does not take, or should not have."""
    values = {thing: places[thing] for thing in VALUE_COLUMNS if thing in places}
    kinds = dict.fromkeys(values.values(), pa.float64())
    for kind in _kinds_of_time(clock):
        try:
            table = _parsed(lines, delimiter, {places["open_time"]: kind, **kinds})
        except pa.ArrowInvalid:
            continue
        columns = {place: table[str(place)] for place in kinds}
        times = table[str(places["open_time"])]
        if times.null_count or not all(map(_finite, columns.values())):
            return None
        readings = {"open_time": moments_of(times.cast(pa.int64()).to_numpy(), clock)}
        for thing, place in values.items():
            numbers = columns[place].to_numpy()
            readings[thing] = Readings(values=numbers, rounded=_rounded(lines, place, numbers))
        return readings
    return None


def _kinds_of_time(clock: Clock) -> tuple[pa.DataType, ...]:
    if clock.unit != "iso":
        return (pa.int64(),)
    with_zone, without = pa.timestamp("ns", "UTC"), pa.timestamp("ns")
    return (with_zone, without) if clock.zone is UTC else (with_zone,)


def _finite(column: pa.ChunkedArray) -> bool:
    """Whether all are numbers or absent; the reader takes ``nan`` and ``inf``, which are none."""
    return pc.all(pc.is_finite(column)).as_py() is not False


def _rounded(lines: Lines, place: int, numbers: npt.NDArray[np.float64]) -> BoolArray | None:
    """The rows with more digits than a double holds; looked for only where cells are long enough."""
    long = np.flatnonzero(lines.widths(place) > _SAFE_WIDTH)
    if not len(long):
        return None
    text = pc.ascii_trim_whitespace(_gathered(lines, place, long))
    # the shortest text that gives a double back is most often what stood there
    same = pc.equal(text, pa.array(numbers[long]).cast(pa.string())).to_numpy(zero_copy_only=False)
    rounded = np.zeros(len(lines), dtype=np.bool_)
    for row, written in zip(long[~same].tolist(), text.filter(pa.array(~same)).to_pylist(), strict=True):
        rounded[row] = bool(written) and changes_digits(Decimal(written), float(numbers[row]))
    return rounded if rounded.any() else None


def _gathered(lines: Lines, place: int, rows: npt.NDArray[np.int64]) -> pa.StringArray:
    """The text of one column in some rows."""
    widths = lines.widths(place)[rows]
    ends = np.concatenate(([0], np.cumsum(widths)))
    starts = lines.ends[rows, place] - widths
    positions = np.repeat(starts - ends[:-1], widths) + np.arange(ends[-1])
    text = np.frombuffer(lines.text, np.uint8)[positions]
    large = pa.Array.from_buffers(pa.large_string(), len(rows), [None, pa.py_buffer(ends), pa.py_buffer(text)])
    return large.cast(pa.string())


def _carefully(lines: Lines, delimiter: str, places: dict[str, int], clock: Clock) -> dict[str, Readings]:
    things = ["open_time", *(thing for thing in VALUE_COLUMNS if thing in places)]
    columns: dict[str, Any] = dict(zip(things, texts(lines, delimiter, [places[t] for t in things]), strict=True))
    readings = {"open_time": read_moments(columns.pop("open_time"), clock)}
    return readings | {thing: read_values(text.to_pylist(), thing) for thing, text in columns.items()}
