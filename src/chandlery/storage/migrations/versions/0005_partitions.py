"""Partitions are made by a function of the schema's owner, so that whoever writes need not own the tables."""

from chandlery.storage.migrations import run_sql_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the function."""
    run_sql_file("0005_partitions.sql")
