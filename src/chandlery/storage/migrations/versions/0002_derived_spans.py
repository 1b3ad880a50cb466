"""The ledger tells derived candles from fetched ones."""

from chandlery.storage.migrations import run_sql_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column to the ledger."""
    run_sql_file("0002_derived_spans.sql")
