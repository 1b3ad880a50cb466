"""The tables of docs/performance.md, between their markers, and its drawing, from the figures of one run."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.plot import drawing
from benchmarks.tables import Figures, Table, libraries_line, machine_line, tables_of

_DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = _DOCS / "performance.md"
DRAWING = _DOCS / "images" / "performance.svg"


def write_docs(figures: Figures) -> None:
    """Put a run's figures into the page, and draw them."""
    PAGE.write_text(filled(PAGE.read_text(), figures))
    DRAWING.parent.mkdir(exist_ok=True)
    DRAWING.write_text(drawing(figures))


def filled(page: str, figures: Figures) -> str:
    """The page with what stands between each ``<!-- NAME -->`` and ``<!-- /NAME -->`` replaced.

    A table that was not measured keeps its place, and says so.
    """
    parts = {"machine": f"{machine_line(figures)}.\n\n{libraries_line(figures)}."}
    parts |= {table.name: _markdown(table) for table in tables_of(figures)}

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- {name} -->\n\n{parts.get(name, 'Not measured in this run.')}\n\n<!-- /{name} -->"

    return re.sub(r"<!-- (?P<name>[a-z]+) -->.*?<!-- /(?P=name) -->", replaced, page, flags=re.DOTALL)


def _markdown(table: Table) -> str:
    lines = [table.head, ("---", *["--:"] * (len(table.head) - 1))]
    for number, cells in enumerate(table.rows):
        lines.append((f"**{cells[0]}**", *cells[1:]) if number in table.bold else cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
