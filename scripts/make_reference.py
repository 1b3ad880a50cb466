"""Write docs/reference from the code: the commands, the public names, the schema. ``make reference`` calls it.

    python scripts/make_reference.py

The schema is read from a private database that is made for it and thrown away.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
_WIDTH = 100
_MADE = "made from the code by `make reference`"


def main() -> int:
    """Make a database, and all pages."""
    from chandlery.storage.database import Database
    from chandlery.storage.embedded import EmbeddedServer
    from chandlery.storage.schema import apply_schema

    folder = Path(tempfile.mkdtemp(prefix="chandlery-reference-"))
    try:
        with EmbeddedServer(folder, durable=False) as server:
            database = Database(server.conninfo)
            apply_schema(database)
            database.close()
            written = pages(server.conninfo)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    REFERENCE.mkdir(exist_ok=True)
    for name, text in written.items():
        (REFERENCE / name).write_text(text)
    return 0


def pages(conninfo: str) -> dict[str, str]:
    """The pages by file name; ``conninfo`` leads to a database with the schema."""
    made = {"commands.md": commands_page(), "python.md": python_page(), "schema.md": schema_page(conninfo)}
    return {name: re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n" for name, lines in made.items()}


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table of Markdown, between empty lines, without columns that are empty; nothing if it has no rows."""
    columns = [column for column in zip(titles, *rows, strict=True) if any(column[1:])]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in zip(*columns, strict=True)]
    return ["", *lines[:1], "|" + "---|" * len(columns), *lines[1:], ""] if lines else [""]


# commands


def commands_page() -> list[str]:
    """Every command as ``--help`` tells it."""
    lines = [
        "# All commands and options",
        "",
        f"What `--help` says, {_MADE}. [Commands](../commands.md) explains them.",
    ]
    for context in _contexts():
        lines += _command(context)
    return lines


def _contexts() -> Iterator[Any]:
    """Every command and group with its whole name, as typer holds it while it parses."""
    import typer.main

    from chandlery.cli.app import app

    def below(name: str, command: Any, parent: Any) -> Iterator[Any]:
        context = command.make_context(name, [], parent=parent, resilient_parsing=True)
        yield context
        for of, sub in getattr(command, "commands", {}).items():
            yield from below(of, sub, context)

    return below("chandlery", typer.main.get_command(app), None)


def _command(context: Any) -> list[str]:
    command = context.command
    usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
    records = [given.get_help_record(context) for given in command.get_params(context)]
    return [
        "",
        f"## {context.command_path}",
        "",
        inspect.cleandoc(command.help or ""),
        "",
        f"Usage: `{usage}`",
        *table(["given", "meaning"], [(f"`{names.strip()}`", _plain(said)) for names, said in filter(None, records)]),
        *_examples(command.epilog or ""),
    ]


def _plain(said: str) -> str:
    """As text of Markdown, where an angle bracket would open a tag."""
    return " ".join(said.split()).replace("<", "\\<").replace("*", "\\*")


def _examples(epilog: str) -> list[str]:
    """The end of a help text: what is indented is a command line, what follows is said about it."""
    lines = epilog.strip().splitlines()
    commands = [line.strip() for line in lines if line.startswith("  ")]
    said = [line for line in lines if line.strip() and not line.startswith("  ") and line != "Examples:"]
    shown = ["```sh", *commands, "```", ""] if commands else []
    return shown + [_plain(line) for line in said]


# Python


def python_page() -> list[str]:
    """Every public name of the package with its signature and its docstring."""
    import chandlery

    public = {name: getattr(chandlery, name) for name in chandlery.__all__}
    errors = {name: each for name, each in public.items() if inspect.isclass(each) and issubclass(each, Exception)}
    lines = [
        "# Python",
        "",
        f"The public names of `chandlery`, {_MADE}. Times are UTC; a candle bears the time at which it opens.",
    ]
    for name in sorted(public.keys() - errors.keys(), key=str.lower):
        lines += _documented(name, public[name])
    return [*lines, "", "## Errors", *_errors(errors)]


def _errors(errors: dict[str, Any]) -> list[str]:
    rows = [
        (f"`{name}`", f"`{each.__mro__[1].__name__}`", " ".join(inspect.cleandoc(each.__doc__).split()))
        for name, each in errors.items()
    ]
    return ["", "Each has a `hint`: what to do next.", *table(["error", "is a", "raised when"], rows)]


def _documented(name: str, thing: Any) -> list[str]:
    node = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))).body[0]
    lines = ["", f"## {name}", ""]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*lines, *_function(node)]
    assert isinstance(node, ast.ClassDef)
    starts = [part for part in _functions(node) if part.name == "__init__"]
    lines += [line for start in starts for line in _code(f"{name}{_arguments(start)}")]
    lines += [ast.get_docstring(node) or "", *_fields(node)]
    for part in _functions(node):
        if not part.name.startswith("_"):
            lines += ["", f"### {name}.{part.name}", "", *_function(part)]
        elif part.name == "__init__":
            lines += ["", ast.get_docstring(part) or ""]
    return lines


def _functions(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    kinds = [f"@{kind}" for kind in map(ast.unparse, node.decorator_list) if kind in ("classmethod", "property")]
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return [*_code(*kinds, f"{start} {node.name}{_arguments(node)}{returned}"), ast.get_docstring(node) or ""]


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """In parentheses; one a line where they are too many for a line."""
    each = [text for text in _each_argument(node.args) if text not in ("self", "cls")]
    text = f"({', '.join(each)})"
    return text if len(text) < _WIDTH else "(\n" + "".join(f"    {part},\n" for part in each) + ")"


def _each_argument(given: ast.arguments) -> Iterator[str]:
    defaults: list[ast.expr | None] = [None] * (len(given.args) - len(given.defaults))
    for arg, default in zip(given.args, [*defaults, *given.defaults], strict=True):
        yield _argument(arg, default)
    if given.vararg or given.kwonlyargs:
        yield f"*{ast.unparse(given.vararg) if given.vararg else ''}"
    for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(arg, default)
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def _argument(arg: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(arg) + (f" = {ast.unparse(default)}" if default else "")


def _code(*lines: str) -> list[str]:
    return ["```python", *lines, "```", ""]


def _fields(node: ast.ClassDef) -> list[str]:
    """What a dataclass or a model holds."""
    rows = []
    for part, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_"):
            default = f"`{ast.unparse(part.value)}`" if part.value else ""
            said = following.value if isinstance(following, ast.Expr) else None
            text = " ".join(str(said.value).split()) if isinstance(said, ast.Constant) else ""
            rows.append((f"`{ast.unparse(part.target)}`", f"`{ast.unparse(part.annotation)}`", default, text))
    return table(["field", "type", "default", "meaning"], rows)


# the schema

_RELATIONS = """
SELECT c.oid, c.relname, c.relkind, obj_description(c.oid, 'pg_class'), pg_get_constraintdef(k.oid)
  FROM pg_class c LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
 WHERE c.relnamespace = 'chandlery'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
 ORDER BY c.relkind = 'v', c.relname
"""
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum)
  FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_PARTITIONS = """
SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
 WHERE inhparent = %s ORDER BY substring(relname FROM '[a-z]+$') = 'mo', pg_class.oid
"""
_FUNCTIONS = """
SELECT proname, pg_get_function_arguments(oid), pg_get_function_result(oid), obj_description(oid, 'pg_proc')
  FROM pg_proc
 WHERE pronamespace = 'chandlery'::regnamespace AND prorettype <> 'trigger'::regtype ORDER BY proname
"""


def schema_page(conninfo: str) -> list[str]:
    """Tables, views and functions of the newest schema, with what the database says of them."""
    import psycopg

    lines = [
        "# The schema",
        "",
        f"All of it stands in the schema `chandlery`; {_MADE}. [SQL](../sql.md) shows its use.",
    ]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for oid, name, kind, said, key in connection.execute(_RELATIONS).fetchall():
            lines += ["", f"## {name}", "", ("A view. " if kind == "v" else "") + (said or ""), ""]
            columns = connection.execute(_COLUMNS, [oid]).fetchall()
            rows = [
                (f"`{column}`", f"`{of}`", "" if kind == "v" or needed else "yes", about or "")
                for column, of, needed, about in columns
            ]
            lines += table(["column", "type", "may be NULL", "meaning"], rows)
            lines += [f"Primary key: `{key.removeprefix('PRIMARY KEY ')}`."] if key else []
            parts = [f"`{part}`" for (part,) in connection.execute(_PARTITIONS, [oid])]
            lines += [f"Divided into {', '.join(parts)}, and those by time."] if parts else []
        lines += ["", "## Functions"]
        for name, given, result, said in connection.execute(_FUNCTIONS):
            lines += ["", f"### {name}", "", *_code_sql(f"{name}({given}) -> {result}"), said or ""]
    return lines


def _code_sql(text: str) -> list[str]:
    return ["```text", *textwrap.wrap(text, _WIDTH, subsequent_indent="    "), "```", ""]


if __name__ == "__main__":
    sys.exit(main())
