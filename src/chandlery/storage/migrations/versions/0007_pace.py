"""Collectors behind one address share one pace."""

from chandlery.storage.migrations import run_sql_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table of what they have taken of it."""
    run_sql_file("0007_pace.sql")
