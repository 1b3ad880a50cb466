"""What was measured, for people and for programs; the machine is described, never named."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from benchmarks.memory import Peak
from benchmarks.rounds import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it was measured. ``memory_gib`` is None where the system does not tell."""

    cores: int
    memory_gib: float | None
    system: str
    python: str
    postgresql: str
    durable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run."""

    machine: Machine
    rows: int
    rounds: int
    writing: Sequence[Timing]
    reading: Sequence[Timing]
    memory: Sequence[Peak]


def machine_of(conninfo: str) -> Machine:
    """This machine and the server; ``durable`` is whether a commit waits for the disk."""
    with psycopg.connect(conninfo) as connection:
        settings: dict[str, str] = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gib=_memory_gib(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        postgresql=settings["server_version"],
        durable=settings["fsync"] == "on" and settings["synchronous_commit"] != "off",
    )


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError):
        return None


def plain(report: Report) -> dict[str, Any]:
    """The report for JSON, with every round's seconds."""
    return {
        "machine": asdict(report.machine),
        "rows": report.rows,
        "rounds": report.rounds,
        "writing": [_plain_timing(timing) for timing in report.writing],
        "reading": [_plain_timing(timing) for timing in report.reading],
        "memory": [asdict(peak) for peak in report.memory],
    }


def _plain_timing(timing: Timing) -> dict[str, Any]:
    return {
        "name": timing.name,
        "seconds": [round(seconds, 4) for seconds in timing.seconds],
        "rows_per_s": round(timing.rows_per_s),
        "against": timing.against,
        "ratio": round(timing.ratio, 3),
    }


def show(report: Report) -> None:
    """Tables on standard output."""
    machine = report.machine
    memory = "" if machine.memory_gib is None else f", {machine.memory_gib:g} GiB"
    head = (
        f"{report.rows:,} candles of 1m, {report.rounds} rounds\n"
        f"{machine.cores} cores{memory}, {machine.system}, Python {machine.python}, "
        f"PostgreSQL {machine.postgresql}, {'durable' if machine.durable else 'not durable'}\n"
    )
    tables = (
        _timings("into PostgreSQL", report.writing, "of straight COPY"),
        _timings("into a pandas frame", report.reading, "of read_sql"),
        _peaks(report.memory),
    )
    Console(highlight=False).print(Group(Text(head), *tables))


def _timings(title: str, timings: Sequence[Timing], compared: str) -> Table:
    table = Table(title, box=None, pad_edge=False, header_style="bold")
    for name in ("candles/s", "slowest", "fastest", compared):
        table.add_column(name, justify="right", no_wrap=True)
    for timing in timings:
        slowest, fastest = timing.spread
        ratio = f"{timing.ratio:.0%}" if timing.ratio < 2 else f"{timing.ratio:.1f} x"
        table.add_row(timing.name, *(f"{rate:,.0f}" for rate in (timing.rows_per_s, slowest, fastest)), ratio)
    table.add_row()
    return table


def _peaks(peaks: Sequence[Peak]) -> Table:
    table = Table("chandlery collect", box=None, pad_edge=False, header_style="bold")
    table.add_column("highest memory", justify="right", no_wrap=True)
    for peak in peaks:
        table.add_row(f"{peak.candles:,} candles in one run", f"{peak.mib:,.0f} MiB")
    return table
