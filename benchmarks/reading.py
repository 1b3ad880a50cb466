"""The ways out: a pandas frame of ten series from sealed months and from rows, beside those of other libraries.

The candles are stored twice, as of two exchanges, of which one is sealed. The wanted span ends in the middle of a
month, so more is decoded than is wanted, as it is where users read.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.reading_others import ADBC, file_ways, server_ways
from benchmarks.rounds import Timing, Way, timed
from benchmarks.samples import SERIES_OF_MANY, START, many_series
from benchmarks.sizes import Size, sizes_of
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span
from chandlery.domain.timeframe import MINUTE_MS
from chandlery.services.seal import EVER, Sealer
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.sealed import sealing_units

SEALED, ROWS = "okx", "unsealed"
"""The two exchanges."""


class DifferentFrames(Exception):
    """Two ways of reading the same gave frames of different length; then their times mean nothing."""


def read_timings(
    storage: PostgreSQLStorage, conninfo: str, *, rows: int, rounds: int
) -> tuple[list[Size], list[Timing]]:
    """The room that candles of ten series take, and the time that each way of reading ``rows`` of them takes."""
    span = Span(START, START + rows // SERIES_OF_MANY * MINUTE_MS)
    batches = _whole_months(span)
    _save(conninfo, SEALED, batches)
    _save(conninfo, ROWS, [batch.take(batch.open_time < span.end) for batch in batches])
    sealer = Sealer(storage)
    for entry in sealer.entries():
        if entry.series.exchange == SEALED:
            sealer.seal(entry, before=EVER.end)
    with contextlib.ExitStack() as open_ones:
        ways = _ways(open_ones, storage, conninfo, batches, span)
        check_equal_lengths(ways)
        return sizes_of(storage), timed(ways, rounds=rounds)


def _whole_months(span: Span) -> list[CandleBatch]:
    """Candles of ten series, to the end of the month in which ``span`` ends."""
    [one, *_] = many_series(SERIES_OF_MANY)
    end = sealing_units(one.series.timeframe, span)[-1].end
    return many_series((end - span.start) // MINUTE_MS * SERIES_OF_MANY)


def _save(conninfo: str, exchange: str, batches: Sequence[CandleBatch]) -> None:
    with PostgreSQLStorage(conninfo, exchange=exchange) as storage:
        for batch in batches:
            storage.save_ohlcv_data(candles_frame(batch), batch.series.symbol, batch.series.timeframe.name)


def _ways(
    open_ones: contextlib.ExitStack,
    storage: PostgreSQLStorage,
    conninfo: str,
    batches: Sequence[CandleBatch],
    span: Span,
) -> list[Way]:
    series = [batch.series for batch in batches]
    rows = SERIES_OF_MANY * (span.end - span.start) // MINUTE_MS
    folder = Path(open_ones.enter_context(tempfile.TemporaryDirectory()))
    numbers = [storage.catalog.ensure(ROWS, one.symbol) for one in series]
    sealed, unsealed = (open_ones.enter_context(PostgreSQLStorage(conninfo, exchange=name)) for name in (SEALED, ROWS))

    def get(tier: PostgreSQLStorage, columns: Sequence[str] | None = None) -> pd.DataFrame:
        last = to_datetime(span.end - MINUTE_MS)
        symbols = [one.symbol for one in series]
        return tier.get_ohlcv_data(symbols, "1m", to_datetime(span.start), last, columns=columns)

    way = partial(Way, rows=rows, against=ADBC, warm=True)
    table = storage.reader.read(series, span).rows
    return [
        way(name="get_ohlcv_data, sealed months", run=lambda: get(sealed), ours=True),
        way(name="close prices only, sealed months", run=lambda: get(sealed, ["close"]), ours=True),
        way(name="get_ohlcv_data, rows", run=lambda: get(unsealed), ours=True),
        *server_ways(open_ones, conninfo, numbers, span, rows),
        *file_ways(table, folder, rows),
    ]


def check_equal_lengths(ways: Sequence[Way]) -> None:
    """Read once each way; raises DifferentFrames if one gives another number of candles than it should."""
    for way in ways:
        way.prepare()
        frame = way.run()
        if not isinstance(frame, pd.DataFrame) or len(frame) != way.rows:
            raise DifferentFrames(f"{way.name} did not read {way.rows:,} candles.")
