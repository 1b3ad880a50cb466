"""Functions for queries across timeframes and instruments."""

from chandlery.storage.migrations import run_sql_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add close_time, aligned, latest, and what they share."""
    run_sql_file("0003_across_timeframes.sql")
