"""The first schema."""

from chandlery.storage.migrations import run_sql_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    run_sql_file("0001_candles.sql")
