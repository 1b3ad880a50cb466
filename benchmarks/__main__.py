"""``python -m benchmarks``: measure all ways side by side, in one run on the same server with the same candles."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.memory import memory_peaks
from benchmarks.reading import read_timings
from benchmarks.report import Report, machine_of, plain, show
from benchmarks.samples import SERIES_OF_MANY
from benchmarks.server import SERVER_VARIABLE, new_database
from benchmarks.writing import write_timings
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.schema import apply_schema


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    given = _parser().parse_args(arguments)
    with new_database() as conninfo:
        report = measure(conninfo, rows=given.rows, rounds=given.rounds)
    show(report)
    if given.json is not None:
        given.json.write_text(json.dumps(plain(report), indent=2) + "\n")


def measure(conninfo: str, *, rows: int, rounds: int) -> Report:
    """Everything, in a database that is empty. Memory is measured on runs of a fiftieth and a fifth of ``rows``."""
    with PostgreSQLStorage(conninfo) as storage:
        apply_schema(storage.database)
        return Report(
            machine=machine_of(conninfo),
            rows=rows,
            rounds=rounds,
            memory=memory_peaks(conninfo, (rows // 50, rows // 5)),
            writing=write_timings(storage, conninfo, rows=rows, rounds=rounds),
            reading=read_timings(storage, conninfo, rows=rows, rounds=rounds),
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the ways into and out of PostgreSQL side by side. The server is the one that "
        f"{SERVER_VARIABLE} names, in a database that is made and dropped, else an embedded one for the occasion.",
    )
    parser.add_argument("--rows", type=_rows, default=1_000_000, help="candles a way (default: %(default)s)")
    parser.add_argument("--rounds", type=_rounds, default=3, help="how often each way is timed (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file, too")
    return parser


def _rows(text: str) -> int:
    rows = int(text)
    if rows < 50 * SERIES_OF_MANY or rows % SERIES_OF_MANY:
        raise argparse.ArgumentTypeError(f"at least {50 * SERIES_OF_MANY}, and a multiple of {SERIES_OF_MANY}")
    return rows


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return rounds


if __name__ == "__main__":
    main()
