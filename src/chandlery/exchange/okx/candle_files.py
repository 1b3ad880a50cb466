"""A file of candles, read: a zip with one CSV of one-minute candles, checked against what it was listed as.

A file is evidence of the rows that it has, and of nothing else: a minute without a row is left for the pages to tell.
So are rows that the file itself leaves unfinished: ``confirm`` 0, as older files have it throughout, and volumes that
were not told. A row of another instrument or period, or one whose time cannot be read, makes the whole file worthless.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chandlery.domain.candle import BoolArray, CandleRows, FloatArray
from chandlery.domain.instrument import Kind, Series
from chandlery.domain.span import Spans
from chandlery.domain.timeframe import IntArray
from chandlery.errors import BadPage
from chandlery.exchange.okx.codes import quoted
from chandlery.exchange.okx.paging import holes
from chandlery.exchange.okx.unzip import opened
from chandlery.exchange.source import CandleFile, FilePage

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("instrument_name", "open", "high", "low", "close", "vol", "vol_ccy", "vol_quote", "open_time", "confirm")
"""The first line of a file; further columns may follow, and any order will do."""

_HEADER_BYTES = 4_096
_BLOCK_BYTES = 2**20
_MOST_ROWS_A_BAR = 2
"""Rows come twice now and then; a file of many more than it has bars is refused before it fills the memory."""
_DECIMAL = r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,2})?$"
_MILLISECONDS = r"^[0-9]{1,16}$"


def read(body: bytes, file: CandleFile, series: Series, kind: Kind, wanted: Spans) -> FilePage:
    """The candles of ``series`` in a file that open in ``wanted``. Raises BadPage for a file that cannot be trusted."""
    table = _table(body, file, series, one_instrument=kind is not Kind.FUTURES)
    times = _times(table, file, series)
    confirmed = _confirmed(table, file)
    base, quote = _volumes(table, kind)
    whole = confirmed & ~np.isnan(base) & ~np.isnan(quote)
    kept = np.flatnonzero(whole & _within(times, wanted))
    prices = {name: _numbers(table[name]) for name in ("open", "high", "low", "close")}
    columns = {"open_time": times, **prices, "base_volume": base, "quote_volume": quote}
    rows = CandleRows.of(series, {name: column[kept] for name, column in columns.items()})
    return FilePage(
        asked=file.span,
        rows=rows,
        answered=Spans([file.span]) - holes(series.timeframe, file.span, rows.open_time),
        raw=lambda i: ",".join(str(table[name][int(kept[i])]) for name in COLUMNS),
        rows_in_file=len(times),
        doubtful=int((~whole).sum()),
    )


def _table(body: bytes, file: CandleFile, series: Series, *, one_instrument: bool) -> pa.Table:
    """The rows of ``series`` as text. A file of one instrument must have no others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    most = _MOST_ROWS_A_BAR * series.timeframe.count(file.span)
    kept: list[pa.RecordBatch] = []
    try:
        with opened(body) as stream:
            for batch in _batches(stream, file):
                ours = pc.equal(batch["instrument_name"], series.symbol)
                if one_instrument and not pc.all(ours).as_py():
                    raise _damaged(file, "rows of another instrument")
                kept.append(batch.filter(ours))
                if sum(map(len, kept)) > most:
                    raise _damaged(file, f"more than {most} rows")
    except pa.ArrowException as error:
        raise _damaged(file, f"something that is no table: {quoted(str(error))}") from error
    return pa.Table.from_batches(kept, pa.schema([(name, pa.string()) for name in COLUMNS]))


def _batches(stream: io.BufferedReader, file: CandleFile) -> pa.RecordBatchReader:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    first_line = stream.peek(_HEADER_BYTES)[:_HEADER_BYTES].partition(b"\n")[0]
    names = first_line.decode("utf-8-sig", "replace").rstrip("\r").split(",")
    if not set(COLUMNS) <= set(names) or len(set(names)) != len(names):
        raise _damaged(file, f"the columns {quoted(','.join(names))}")
    return pa_csv.open_csv(
        stream,
        pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        pa_csv.ParseOptions(quote_char=False),
        pa_csv.ConvertOptions(
            include_columns=COLUMNS, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _times(table: pa.Table, file: CandleFile, series: Series) -> IntArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table["open_time"]
    if not pc.all(pc.match_substring_regex(column, _MILLISECONDS)).as_py() and len(column):
        raise _damaged(file, "a row whose open time is not a number of milliseconds")
    times: IntArray = column.cast(pa.int64()).to_numpy()
    if ((times < file.span.start) | (times >= file.span.end)).any():
        raise _damaged(file, "rows from outside of its period")
    if (series.timeframe.floor(times) != times).any():
        raise _damaged(file, f"a row that is not the open of a {series.timeframe} bar")
    return times


def _confirmed(table: pa.Table, file: CandleFile) -> BoolArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.all(pc.is_in(table["confirm"], pa.array(["0", "1"]))).as_py() and len(table):
        raise _damaged(file, "a row that does not tell whether it is confirmed")
    confirmed: BoolArray = pc.equal(table["confirm"], "1").to_numpy()
    return confirmed


def _volumes(table: pa.Table, kind: Kind) -> Sequence[FloatArray]:
    """Base and quote volume, NaN where they were not told: something was traded, and they say 0 or nothing."""
    traded = _numbers(table["vol"])
    told = (traded if kind is Kind.SPOT else _numbers(table["vol_ccy"]), _numbers(table["vol_quote"]))
    return [np.where((traded > 0) & (volume == 0), np.nan, volume) for volume in told]


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    """Plain ASCII decimals as doubles, anything else as NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.match_substring_regex(column, _DECIMAL)
    numbers: FloatArray = pc.if_else(plain, column, "nan").cast(pa.float64()).to_numpy()
    return numbers


def _within(times: IntArray, wanted: Spans) -> BoolArray:
    inside = np.zeros(len(times), dtype=np.bool_)
    for span in wanted:
        inside |= (times >= span.start) & (times < span.end)
    return inside


def _damaged(file: CandleFile, found: str) -> BadPage:
    return BadPage(f"The file {quoted(file.name)} has {found}.", hint="Nothing of it was kept.")
