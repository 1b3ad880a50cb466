"""The figures of a run as tables, from its JSON: what the screen and the documentation show is one and the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Figures = dict[str, Any]
"""A report as JSON holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Text in cells; all columns but the first are to the right. ``bold`` are the numbers of rows that are ours."""

    name: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    bold: frozenset[int] = frozenset()


def tables_of(figures: Figures) -> list[Table]:
    """All tables of a run; those of which nothing was measured are left out."""
    return [table for table in (*_timings(figures), _sizes(figures), _growth(figures), _memory(figures)) if table.rows]


def machine_line(figures: Figures) -> str:
    """One sentence on where it was measured."""
    machine = figures["machine"]
    memory = "" if machine["memory_gib"] is None else f", {machine['memory_gib']:g} GiB"
    before, after = machine["load"]
    return (
        f"{figures['date']}, {figures['rows']:,} candles of 1m, {figures['rounds']} rounds: {machine['cpu']}, "
        f"{machine['cores']} cores{memory}, {machine['system']}, Python {machine['python']}, "
        f"PostgreSQL {machine['postgresql']} ({'durable' if machine['durable'] else 'not durable'}), "
        f"load {before:g} before and {after:g} after"
    )


def libraries_line(figures: Figures) -> str:
    """The versions of all libraries."""
    return ", ".join(f"{name} {version}" for name, version in figures["machine"]["libraries"].items())


def _timings(figures: Figures) -> Iterable[Table]:
    for part, title, compared in (
        ("writing", "into PostgreSQL", "of straight COPY"),
        ("reading", "into a pandas frame", "times as fast as ADBC"),
    ):
        ways = figures[part]
        yield Table(
            name=part,
            head=(title, "candles/s", "ms, median", "fastest", "slowest", compared),
            rows=[_timing(way, figures["rows"], share=part == "writing") for way in ways],
            bold=frozenset(number for number, way in enumerate(ways) if way["ours"]),
        )


def _timing(way: dict[str, Any], rows: int, *, share: bool) -> tuple[str, ...]:
    scaled = "" if way["rows"] == rows else f", scaled from {way['rows']:,}"
    ratio = f"{way['ratio']:.0%}" if share and way["ratio"] < 2 else f"{way['ratio']:.2g} x"
    return (way["name"] + scaled, f"{way['rows_per_s']:,}", *(_ms(way[f"{name}_ms"]) for name in _SPREAD), ratio)


_SPREAD = ("median", "fastest", "slowest")


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def _sizes(figures: Figures) -> Table:
    rows = [
        (size["what"], f"{size['candles']:,}", f"{size['row']:.0f}" if size["row"] else "", f"{size['sealed']:.1f}")
        for size in figures["sizes"]
    ]
    return Table(name="sizes", head=("bytes a candle", "candles", "row and key", "sealed"), rows=rows)


def _growth(figures: Figures) -> Table:
    rows = [
        (
            f"{step['candles']:,}",
            *(_cost(step[name]) for name in ("save", "seal", "read_sealed", "read_rows")),
        )
        for step in figures["growth"]
    ]
    head = ("candles stored", "save, ns", "seal, ns", "read a sealed month, ns", "read a month of rows, ns")
    return Table(name="growth", head=head, rows=rows)


def _cost(spread: dict[str, float]) -> str:
    return f"{spread['median_ns']:,.0f} ({spread['quarter_ns']:,.0f} to {spread['three_quarters_ns']:,.0f})"


def _memory(figures: Figures) -> Table:
    peaks = figures["memory"]
    commands = list(dict.fromkeys(peak["command"] for peak in peaks))
    rows = [_peaks(command, [peak for peak in peaks if peak["command"] == command]) for command in commands]
    return Table(name="memory", head=("chandlery", "candles", "MiB", "candles", "MiB", "programs it starts"), rows=rows)


def _peaks(command: str, peaks: list[dict[str, Any]]) -> tuple[str, ...]:
    cells = [text for peak in peaks for text in (f"{peak['candles']:,}", f"{peak['mib']:.0f}")]
    child = max(peak["child_mib"] for peak in peaks)
    return (command, *cells, f"{child:.0f}" if child else "")
