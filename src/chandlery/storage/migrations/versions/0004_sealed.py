"""Sealed months: closed months of a series, each as one compressed segment beside its rows or instead of them."""

from chandlery.storage.migrations import run_sql_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table of segments and the triggers' functions."""
    run_sql_file("0004_sealed.sql")
