"""The specification's collector on the command line; the thing itself is ``chandlery collect``.

python scripts/okx_data_collector.py --symbols BTC-USDT,ETH-USDT --timeframes 1m,1h --start_time 2024-01-01 --run-once
"""

from __future__ import annotations

import argparse
import os
import sys

from chandlery.cli.collect import run_collection
from chandlery.cli.exits import ExitCode, exit_code_of
from chandlery.errors import ChandleryError
from chandlery.settings import Settings, load_settings
from chandlery.storage.config import PostgresConfig

PAUSE_S = 60
"""From round to round, where --run-once is not given."""


def main(arguments: list[str] | None = None) -> int:
    """Collect once, or again every minute until stopped; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        return run_collection(settings)
    except ChandleryError as error:
        print(f"okx_data_collector: {error}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="okx_data_collector.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--start_time", help="first day or time, UTC, such as 2024-01-01; default: start of history")
    parser.add_argument("--end_time", help="last day or time, UTC; default: now")
    parser.add_argument("--limit", type=int, help="candles a request, 1 to 300")
    parser.add_argument("--output", choices=("csv", "db"), help="where to; default: the setting data.output")
    parser.add_argument("--timeframes", help="one or several, such as 1m,5m,1h")
    parser.add_argument("--symbols", help="one or several, such as BTC-USDT,ETH-USDT-SWAP")
    parser.add_argument("--run-once", action="store_true", help=f"stop after one round instead of every {PAUSE_S} s")
    parser.add_argument(
        "--db-env", action="store_true", help="use the database that POSTGRES_HOST, _PORT, _DB, _USER, _PASSWORD name"
    )
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    overrides: dict[str, object] = {
        "data_collection.since": options.start_time,
        "data_collection.until": options.end_time,
        "data_collection.page_size": options.limit,
        "data_collection.timeframes": options.timeframes,
        "data_collection.symbols": options.symbols,
        "data_collection.follow_s": 0 if options.run_once else PAUSE_S,
        "data.output": {"csv": "csv", "db": "postgres", None: None}[options.output],
    }
    if options.db_env:
        named = PostgresConfig.from_env()
        overrides |= {
            "database.host": named.host,
            "database.port": named.port,
            "database.name": named.database,
            "database.user": named.user,
            "database.password": named.password or None,
            "database.ssl_mode": named.ssl_mode,
        }
    return load_settings(environ=os.environ, overrides=overrides)


if __name__ == "__main__":
    sys.exit(main())
