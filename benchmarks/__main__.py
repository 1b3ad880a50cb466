"""``python -m benchmarks``: measure all ways side by side, in one run on the same server with the same candles."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.growth import SIZES, growth
from benchmarks.machine import load_now, machine_of
from benchmarks.memory import memory_peaks
from benchmarks.pages import write_docs
from benchmarks.reading import read_timings
from benchmarks.report import Report, plain
from benchmarks.samples import SERIES_OF_MANY
from benchmarks.screen import show
from benchmarks.server import SERVER_VARIABLE, database_on, new_database
from benchmarks.writing import write_timings
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.schema import apply_schema

_LEAST = 100 * SERIES_OF_MANY
_RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, show and keep the figures; or write the documentation from figures that were kept."""
    given = _parser().parse_args(arguments)
    if given.write_docs is not None:
        write_docs(json.loads(given.write_docs.read_text()))
        return
    with new_database() as conninfo:
        figures = plain(measure(conninfo, given))
    show(figures)
    file = given.json or _RESULTS / f"{datetime.now(UTC):%Y-%m-%d-%H%M}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"All figures: {file.name}")


def measure(conninfo: str, given: argparse.Namespace) -> Report:
    """Everything that was asked for; ``conninfo`` is an empty database."""
    load_before = load_now()
    with PostgreSQLStorage(conninfo) as storage:
        apply_schema(storage.database)
        writing = write_timings(storage, conninfo, rows=given.rows, rounds=given.rounds)
        sizes, reading = read_timings(storage, conninfo, rows=given.rows, rounds=given.rounds)
    with database_on(conninfo) as another, PostgreSQLStorage(another) as storage:
        apply_schema(storage.database)
        steps = growth(storage, millions=given.growth, minutes=given.minutes)
    return Report(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        rows=given.rows,
        rounds=given.rounds,
        writing=writing,
        reading=reading,
        sizes=sizes,
        growth=steps,
        memory=memory_peaks(conninfo, given.rows) if given.memory else [],
        machine=machine_of(conninfo, load_before),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the ways into and out of PostgreSQL side by side. The server is the one that "
        f"{SERVER_VARIABLE} names, in databases that are made and dropped, else an embedded one for the occasion.",
    )
    sizes = ", ".join(f"{size / 1e6:g}" for size in SIZES)
    parser.add_argument("--rows", type=_rows, default=1_000_000, help="candles a way (default: %(default)s)")
    parser.add_argument("--rounds", type=_rounds, default=5, help="how often each way is timed (default: %(default)s)")
    parser.add_argument(
        "--growth", type=float, default=1, metavar="M", help=f"grow to so many million candles: {sizes}; 50 take 7 GB"
    )
    parser.add_argument("--minutes", type=float, default=60, help="grow no longer than this (default: %(default)s)")
    parser.add_argument("--memory", action="store_true", help="measure the memory of all commands, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to keep the figures; else benchmarks/results")
    parser.add_argument(
        "--write-docs", type=Path, metavar="FILE", help="measure nothing; write docs/performance.md from kept figures"
    )
    return parser


def _rows(text: str) -> int:
    rows = int(text)
    if rows < _LEAST or rows % _LEAST:
        raise argparse.ArgumentTypeError(f"at least {_LEAST}, and a multiple of {_LEAST}")
    return rows


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return rounds


if __name__ == "__main__":
    main()
