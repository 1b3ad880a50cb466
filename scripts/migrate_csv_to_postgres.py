"""The specification's migration from CSV files; the thing itself is ``chandlery import``.

python scripts/migrate_csv_to_postgres.py data/klines --dry-run
python scripts/migrate_csv_to_postgres.py data/klines --verify
"""

from __future__ import annotations

import argparse
import sys

from chandlery.cli.exits import ExitCode, exit_code_of
from chandlery.cli.import_ import run_import
from chandlery.errors import ChandleryError
from chandlery.services.bulk_import.given import Told, find_sources
from chandlery.services.bulk_import.run import Manner
from chandlery.storage.postgres import PostgreSQLStorage


def main(arguments: list[str] | None = None) -> int:
    """Import into the database that POSTGRES_HOST, _PORT, _DB, _USER and _PASSWORD name; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        told = Told.of(symbol=options.symbol, timeframe_name=options.timeframe, columns=options.columns)
        sources = find_sources(options.paths)
        with PostgreSQLStorage.from_env() as storage:
            return run_import(storage, sources, told, Manner(dry_run=options.dry_run, verify=options.verify))
    except ChandleryError as error:
        print(f"migrate_csv_to_postgres: {error}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="migrate_csv_to_postgres.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", default=["data/klines"], help="files, folders or patterns (%(default)s)")
    parser.add_argument("--symbol", help="the symbol, where a file's name does not tell it")
    parser.add_argument("--timeframe", help="the timeframe, where a file's name does not tell it")
    parser.add_argument("--columns", help="columns with other names: time=ts,open=o,high=h,low=l,close=c,volume=v")
    parser.add_argument("--dry-run", action="store_true", help="judge and compare; write nothing")
    parser.add_argument("--verify", action="store_true", help="read all back and compare")
    return parser


if __name__ == "__main__":
    sys.exit(main())
