"""No SQL is pasted together from text: what is executed is written out, loaded by name, or composed by psycopg."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import chandlery

ROOT = Path(chandlery.__file__).parent
EXECUTING = {"execute", "executemany", "copy", "fetch", "exec_driver_sql"}
LOADS_FILES = "storage/sql/__init__.py"
"""The one place where sql.SQL takes a text that does not stand in the source: it comes out of a file of the package."""

STATEMENT = re.compile(
    r"\b(SELECT\b.*\bFROM|INSERT INTO|UPDATE\b.*\bSET|DELETE FROM|TRUNCATE|COPY\b.*\b(FROM|TO)|LISTEN|NOTIFY|GRANT"
    r"|REVOKE|LOCK TABLE|SET (LOCAL|ROLE|SESSION)|(CREATE|ALTER|DROP) (TABLE|ROLE|SCHEMA|DATABASE|FUNCTION|TRIGGER))\s",
    re.DOTALL,
)


def pasted(tree: ast.AST) -> Iterator[ast.expr]:
    """Every expression that makes a text out of a template and values: f"", +, %, .format(), .join()."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            if any(isinstance(part, ast.FormattedValue) for part in node.values):
                yield node
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            if any(_is_text(side) for side in (node.left, node.right)):
                yield node
        elif isinstance(node, ast.Call) and _fills_in(node.func):
            yield node


def _fills_in(called: ast.expr) -> bool:
    named = isinstance(called, ast.Attribute) and called.attr in ("format", "join", "replace", "format_map")
    return named and _is_text(called.value)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def text_in(node: ast.expr) -> str:
    """All that is written out in an expression."""
    return " ".join(
        part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def offences(source: str, *, loads_files: bool = False) -> list[str]:
    tree = ast.parse(source)
    found = [f"line {node.lineno}: pasted SQL" for node in pasted(tree) if STATEMENT.search(text_in(node))]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        first, name = node.args[0], node.func.attr
        if name == "SQL" and not loads_files and not isinstance(first, ast.Constant):
            found.append(f"line {node.lineno}: sql.SQL of something else than a constant")
        if name in EXECUTING and first in set(pasted(first)):
            found.append(f"line {node.lineno}: {name} of a pasted text")
    return found


@pytest.mark.parametrize("module", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_pastes_no_sql(module: Path) -> None:
    name = module.relative_to(ROOT).as_posix()
    assert offences(module.read_text(), loads_files=name == LOADS_FILES) == []


@pytest.mark.parametrize(
    "source",
    [
        'c.execute(f"SELECT a FROM {table}")',
        'c.execute("SELECT a FROM %s" % table)',
        'c.execute("DROP TABLE " + table)',
        'c.execute("TRUNCATE {}".format(table))',
        'c.execute(f"{anything}")',
        'statement = f"DELETE FROM {table} WHERE a"',
        'sql.SQL(f"LOCK TABLE {table}")',
        "sql.SQL(text)",
        'c.copy("COPY {} FROM STDIN".format(table))',
    ],
)
def test_the_test_finds_what_it_is_for(source: str) -> None:
    assert offences(source)


@pytest.mark.parametrize(
    "source",
    [
        'c.execute("SELECT a FROM b WHERE c = %s", [value])',
        'c.execute(sql.SQL("SELECT a FROM {}").format(sql.Identifier(table)))',
        'c.execute(query("read", table=table))',
        'print(f"{count} rows: update them, or select others from {table}")',
        'sql.SQL(", ").join(columns)',
    ],
)
def test_the_test_lets_everything_else_pass(source: str) -> None:
    assert offences(source) == []
