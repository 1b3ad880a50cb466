"""Tables on standard output."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.tables import Figures, Table, libraries_line, machine_line, tables_of

_WIDTH = 130
"""As the widest table needs; a narrower screen wraps the lines."""


def show(figures: Figures) -> None:
    """Everything that was measured."""
    console = Console(highlight=False, width=_WIDTH)
    console.print(f"{machine_line(figures)}\n{libraries_line(figures)}\n", soft_wrap=True)
    for table in tables_of(figures):
        console.print(_rich(table))


def _rich(table: Table) -> RichTable:
    shown = RichTable(table.head[0], box=None, pad_edge=False, header_style="bold")
    for name in table.head[1:]:
        shown.add_column(name, justify="right")
    for number, cells in enumerate(table.rows):
        shown.add_row(*cells, style="bold" if number in table.bold else "")
    shown.add_row()
    return shown
