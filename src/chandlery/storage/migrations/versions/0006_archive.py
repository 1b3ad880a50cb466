"""Archived months: segments whose bytes live in a file elsewhere, and spans whose candles were dropped on purpose."""

from chandlery.storage.migrations import run_sql_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Let a sealed span name its file, and the ledger remember what retention dropped."""
    run_sql_file("0006_archive.sql")
