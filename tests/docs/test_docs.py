"""The documentation holds: its links lead somewhere, its commands and modules exist, and it names each of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chandlery.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = sorted(
    [(command.name or command.callback.__name__) for command in app.registered_commands if command.callback]
    + [group.name for group in app.registered_groups if group.name]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_exist(page: Path) -> None:
    for command in re.findall(r"(?:^ {4}|`)chandlery ([a-z]+)", page.read_text(), flags=re.MULTILINE):
        assert command in COMMANDS, f"{command} in {page.name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_line_and_its_help(command: str) -> None:
    assert f"`chandlery {command}" in (ROOT / "docs" / "commands.md").read_text()
    shown = subprocess.run(
        [sys.executable, "-m", "chandlery", command, "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "Usage:" in shown


@pytest.mark.parametrize("target", ["demo", "test", "lint", "types", "bench", "validate", "docs"])
def test_the_makefile_has_the_targets_that_the_text_promises(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_every_decision_is_listed() -> None:
    notes = {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")} - {"README.md"}
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", (ROOT / "docs" / "decisions" / "README.md").read_text()))
    assert notes == listed


def test_every_runtime_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[(.*?)^\]", project, flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    reasons = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    for name in re.findall(r'"([a-z0-9-]+)', block[1]):
        assert name in reasons, name
