"""The table of the specification's tasks is whole, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "tasks.md").read_text().splitlines()
    if line.startswith("| T") or line.startswith("| the same")
]
NAMED = sorted({name for row in ROWS for cell in row[2:] for name in re.findall(r"`([^`]+)`", cell)})


def test_every_task_has_its_row_and_every_row_has_code_and_tests() -> None:
    told = [number for row in ROWS for number in re.findall(r"T\d{3}", row[0])]
    assert sorted(told) == [f"T{number:03}" for number in range(1, 40)]
    for row in ROWS:
        assert len(row) == 4
        assert all("`" in cell for cell in row[2:]), row
        assert all(name.startswith("tests/") for name in re.findall(r"`([^`]+)`", row[3])), row


@pytest.mark.parametrize("name", NAMED)
def test_what_the_table_names_exists(name: str) -> None:
    path, _, test = name.partition("::")
    assert (ROOT / path).exists(), path
    if test:
        assert f"def {test}(" in (ROOT / path).read_text(), test
