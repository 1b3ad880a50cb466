"""The ways out of both tiers: a frame of ten series from sealed months, from rows, and by ADBC alone.

``python -m benchmarks.sealed`` measures them in a database of its own.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pandas as pd

from benchmarks.rounds import Timing, Way, timed
from benchmarks.samples import many_series
from benchmarks.server import new_database
from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.services.seal import EVER, Sealer, SealReport
from chandlery.storage.intake.frames import candles_frame, table_frame
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.reader import Reader
from chandlery.storage.schema import apply_schema
from chandlery.storage.sealed import sealing_units

ADBC = "ADBC alone"


def sealed_timings(
    storage: PostgreSQLStorage, conninfo: str, *, rows: int, rounds: int
) -> tuple[SealReport, list[Timing]]:
    """Store candles of ten series to the end of a month, seal them, and read ``rows`` of them each way.

    The rows stay, and are read by way of a copy of the sealed series that is not sealed.
    """
    span = many_series(rows)[0].span
    assert span is not None
    unit = sealing_units(many_series(10)[0].series.timeframe, span)[-1]
    batches = many_series((unit.end - span.start) // 60_000 * 10)
    for batch in batches:
        for exchange in ("okx", "unsealed"):
            with PostgreSQLStorage(conninfo, exchange=exchange) as one:
                one.save_ohlcv_data(candles_frame(batch), batch.series.symbol, "1m")
    sealer = Sealer(storage)
    entries = [entry for entry in sealer.entries() if entry.series.exchange == "okx"]
    report = sum((sealer.seal(entry, before=EVER.end) for entry in entries), SealReport())
    return report, timed(_ways(storage, conninfo, batches, span), rows=rows, rounds=rounds)


def _ways(storage: PostgreSQLStorage, conninfo: str, batches: Sequence[CandleBatch], span: Span) -> list[Way]:
    sealed = [batch.series for batch in batches]
    unsealed = [Series("unsealed", series.symbol, series.timeframe) for series in sealed]
    connection = adbc.connect(conninfo, autocommit=True)
    numbers = [storage.catalog.find("unsealed", series.symbol) for series in sealed]
    statement = _one_statement(numbers, span)
    reader: Reader = storage.reader

    def by_adbc() -> pd.DataFrame:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            frame: pd.DataFrame = cursor.fetch_arrow_table().to_pandas(split_blocks=True, self_destruct=True)
            return frame

    assert len(by_adbc()) == reader.read(sealed, span).rows.num_rows == reader.read(unsealed, span).rows.num_rows
    return [
        Way(name="sealed", run=lambda: table_frame(reader.read(sealed, span)), against=ADBC),
        Way(name="sealed, close only", run=lambda: reader.read(sealed, span, ("close",)), against=ADBC),
        Way(name="rows", run=lambda: table_frame(reader.read(unsealed, span)), against=ADBC),
        Way(name=ADBC, run=by_adbc, against=ADBC),
    ]


def _one_statement(numbers: Sequence[Any], span: Span) -> str:
    return (
        "SELECT instrument_id, open_time, open, high, low, close, base_volume, quote_volume FROM chandlery.candle_1m"
        f" WHERE instrument_id IN ({', '.join(map(str, numbers))}) AND timeframe = '1m'"
        f" AND open_time >= '{to_datetime(span.start)}' AND open_time < '{to_datetime(span.end)}'"
        " ORDER BY instrument_id, open_time"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sealed", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=11)
    given = parser.parse_args()
    with new_database() as conninfo, PostgreSQLStorage(conninfo) as storage:
        apply_schema(storage.database)
        report, timings = sealed_timings(storage, conninfo, rows=given.rows, rounds=given.rounds)
    print(f"{report.candles:,} candles sealed, {report.bytes / report.candles:.1f} bytes each; load {os.getloadavg()}")
    for timing in timings:
        slowest, fastest = (given.rows / rate * 1000 for rate in timing.spread)
        median = given.rows / timing.rows_per_s * 1000
        print(f"{timing.name:20} {median:8.1f} ms ({fastest:.1f} to {slowest:.1f})  {timing.ratio:5.1f} x {ADBC}")


if __name__ == "__main__":
    main()
