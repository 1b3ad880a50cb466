"""``chandlery export``: stored candles as files for other programs, a subcommand for each kind."""

from __future__ import annotations

import typer

from chandlery.cli import export_files, export_qlib
from chandlery.cli.options import QuickGroup

EXAMPLES = """
Examples:

  chandlery export parquet exported

  chandlery export csv exported BTC-USDT --since 2024-01-01

  chandlery export freqtrade user_data/data/okx --timeframe 1h

  chandlery export qlib qlib-data BTC-USDT --timeframe 1h,1d
"""

app = typer.Typer(
    cls=QuickGroup,
    help="Write stored candles into files for other programs.",
    epilog=EXAMPLES,
    no_args_is_help=True,
)
export_files.register(app)
export_qlib.register(app)
