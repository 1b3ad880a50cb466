"""Migrations: alembic revisions whose bodies are SQL files. A shipped one never changes; a new one is added."""

from __future__ import annotations

from importlib import resources

SCHEMA = "chandlery"
VERSION_TABLE = "schema_version"


def head() -> str:
    """The newest revision that this program brings, such as ``0001``."""
    files = resources.files(__package__).joinpath("versions").iterdir()
    return max(file.name.split("_")[0] for file in files if file.name.endswith(".sql"))


def run_sql_file(name: str) -> None:
    """Execute one file of ``versions`` in the running migration's transaction."""
    from alembic import op

    text = resources.files(__package__).joinpath("versions", name).read_text(encoding="utf-8")
    # no parameters, so that neither % nor : in the file means anything to a driver
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(text)
