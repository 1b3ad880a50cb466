"""Every command line that the documentation shows is one that the program understands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_lines import understand
from docs.pages import PAGES, ROOT

_CALL = re.compile(r"^(?:\$ )?((?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?chandlery\b.*)$")
SHOWN = {page: [] for page in PAGES}
for page in PAGES:
    fenced, language = False, ""
    for line in page.read_text().replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced, language = not fenced, line.strip("` \n")
        elif (fenced and language in ("sh", "bash", "console")) or (not fenced and line.startswith("    ")):
            SHOWN[page] += _CALL.findall(line.strip())


@pytest.mark.parametrize("page", [page for page in PAGES if SHOWN[page]], ids=lambda page: page.name)
def test_shown_command_lines_are_understood(page: Path) -> None:
    for line in SHOWN[page]:
        understand(line)


def test_the_first_page_shows_the_way_to_a_chart() -> None:
    shown = " ".join(SHOWN[ROOT / "README.md"])
    assert all(f"chandlery {command}" in shown for command in ("collect", "status", "serve", "export"))
