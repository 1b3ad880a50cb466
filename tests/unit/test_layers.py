"""The floors hold: each module imports only from its own floor and those below, and the two edges do not meet."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chandlery

ROOT = Path(chandlery.__file__).parent
BELOW = {
    "errors": set(),
    "redaction": set(),
    "domain": {"errors"},
    "exchange": {"domain", "errors"},
    "storage": {"domain", "errors", "redaction"},
    "simulator": {"domain", "errors"},
    "setting_sources": {"errors", "redaction"},
    "setting_types": {"domain"},
    "setting_sections": {"domain", "errors", "setting_types", "storage.config", "storage.login_files"},
    "settings": {"errors", "redaction", "setting_sections", "setting_sources"},
    "services": {"domain", "errors", "redaction", "exchange", "storage", "setting_sections", "settings"},
    "web": {"domain", "errors", "services", "storage"},
    "cli": {"domain", "errors", "redaction", "exchange", "storage", "setting_sections"}
    | {"setting_sources", "settings", "services", "simulator", "web"},
    "qlib": {"domain", "errors", "services", "storage"},
    "__init__": {"domain", "errors", "settings", "services", "storage"},
    "__main__": {"cli"},
}
MODULES = sorted(ROOT.rglob("*.py"))


def floor_of(module: Path) -> str:
    return module.relative_to(ROOT).with_suffix("").parts[0]


def imported(module: Path) -> set[str]:
    """The dotted names below ``chandlery`` that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chandlery"):
            names.add((node.module or "").removeprefix("chandlery").lstrip("."))
        elif isinstance(node, ast.Import):
            names.update(a.name.removeprefix("chandlery.") for a in node.names if a.name.startswith("chandlery."))
    return names - {""}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_a_module_imports_only_from_below(module: Path) -> None:
    floor = floor_of(module)
    assert floor in BELOW, f"say in BELOW what the new floor {floor!r} may use"
    allowed = BELOW[floor] | {floor}
    wrong = {name for name in imported(module) if not any(name == a or name.startswith(f"{a}.") for a in allowed)}
    assert not wrong


def test_the_domain_touches_neither_world_nor_clock() -> None:
    """No I/O, no clock, no environment: the pure floor imports nothing that could."""
    forbidden = {"os", "time", "socket", "pathlib", "asyncio", "aiohttp", "psycopg", "pandas", "logging", "subprocess"}
    for module in MODULES:
        if floor_of(module) == "domain":
            for node in ast.walk(ast.parse(module.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not forbidden & {name.split(".")[0] for name in names}, module
