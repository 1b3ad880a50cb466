"""What was measured, as one value that JSON holds: every round's seconds, and what is told of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.growth import Growth
from benchmarks.machine import Machine
from benchmarks.memory import Peak
from benchmarks.rounds import Timing
from benchmarks.sizes import Size

VERSION = 1
"""Of the form of the JSON; raised when a field changes its meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run on ``date``, a day in UTC. ``growth`` and ``memory`` are empty if they were not asked for."""

    date: str
    machine: Machine
    rows: int
    rounds: int
    writing: Sequence[Timing]
    reading: Sequence[Timing]
    sizes: Sequence[Size]
    growth: Sequence[Growth]
    memory: Sequence[Peak]


def plain(report: Report) -> dict[str, Any]:
    """The report for JSON."""
    return {
        "version": VERSION,
        "date": report.date,
        "machine": asdict(report.machine),
        "rows": report.rows,
        "rounds": report.rounds,
        "writing": [_plain_timing(timing, report.rows) for timing in report.writing],
        "reading": [_plain_timing(timing, report.rows) for timing in report.reading],
        "sizes": [asdict(size) for size in report.sizes],
        "growth": [_plain_growth(step) for step in report.growth],
        "memory": [asdict(peak) for peak in report.memory],
    }


def _plain_timing(timing: Timing, rows: int) -> dict[str, Any]:
    """Times are for all ``rows``, scaled where a way was given fewer, as ``rows`` of the way says."""
    median, fastest, slowest = (round(ms, 3) for ms in timing.ms_for(rows))
    return {
        "name": timing.name,
        "ours": timing.ours,
        "rows": timing.rows,
        "seconds": [round(seconds, 5) for seconds in timing.seconds],
        "median_ms": median,
        "fastest_ms": fastest,
        "slowest_ms": slowest,
        "rows_per_s": round(timing.rows_per_s),
        "against": timing.against,
        "ratio": round(timing.ratio, 3),
    }


def _plain_growth(step: Growth) -> dict[str, Any]:
    costs = {"save": step.save, "seal": step.seal, "read_sealed": step.read_sealed, "read_rows": step.read_rows}
    return {"candles": step.candles} | {name: _spread(values) for name, values in costs.items()}


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Nanoseconds a candle: the median, and the quarters around it."""
    quarters = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    low, median, high = (round(value * 1000, 1) for value in quarters)
    return {"steps": len(values), "median_ns": median, "quarter_ns": low, "three_quarters_ns": high}
