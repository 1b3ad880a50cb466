"""The folder ``instruments``: lists of symbols with the spans in which Qlib looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from chandlery.services.export_qlib.checking.findings import Finding, error, warning
from chandlery.services.export_qlib.layout import INSTRUMENTS, is_no_name

Listed = dict[str, list[tuple[np.datetime64, np.datetime64]]]


def check_instruments(root: Path, listed: Listed) -> Iterator[Finding]:
    """Judge each list; the spans of all symbols are put into ``listed``."""
    paths = sorted((root / INSTRUMENTS).glob("*.txt"))
    if not any(path.name == "all.txt" for path in paths):
        yield error(INSTRUMENTS, "there is no all.txt: Qlib writes an empty one, and finds no symbol.")
    for path in paths:
        where = f"{INSTRUMENTS}/{path.name}"
        if path.name != path.name.lower():
            yield error(where, "has capitals in its name: Qlib looks for it in lower case, and finds no symbol.")
        yield from _check_lines(where, path.read_text(encoding="utf-8", errors="replace").splitlines(), listed)
    yield from _check_cases(listed)


def _check_lines(where: str, lines: list[str], listed: Listed) -> Iterator[Finding]:
    if not any(lines):
        yield error(where, "is empty: the market has no symbol.")
    for number, line in enumerate(lines, start=1):
        place, parts = f"{where}:{number}", line.split("\t")
        if len(parts) != 3:
            yield error(place, f"has {len(parts)} columns where Qlib wants 3, separated by tabs: loading it fails.")
            return
        span = _span(parts[1], parts[2])
        if span is None:
            yield error(place, "has no naive times in its second and third column, as a header has: loading it fails.")
            return
        yield from _check_span(place, parts[0], *span)
        listed.setdefault(parts[0], []).append(span)


def _span(start: str, end: str) -> tuple[np.datetime64, np.datetime64] | None:
    try:
        return np.datetime64(start, "s"), np.datetime64(end, "s")
    except ValueError:
        return None


def _check_span(place: str, symbol: str, start: np.datetime64, end: np.datetime64) -> Iterator[Finding]:
    if is_no_name(symbol):
        yield error(place, f"pandas reads the symbol {symbol!r} as no value: every query of this market fails.")
    if np.isnat(start) or np.isnat(end) or start > end:
        yield error(place, f"{symbol} ends before it begins: it is never shown.")
    elif start != start.astype("M8[D]"):
        yield warning(place, f"{symbol} begins within a day: its first bar of day and longer would be left out.")
    elif end == end.astype("M8[D]"):
        yield warning(place, f"{symbol} ends at midnight: of that day, frequencies below day show one bar at most.")


def _check_cases(listed: Listed) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for symbol in listed:
        other = seen.setdefault(symbol.lower(), symbol)
        if other != symbol:
            yield error(INSTRUMENTS, f"{other} and {symbol} differ in case alone: they share one folder of values.")
