"""Make or upgrade the tables in the database that POSTGRES_HOST, _PORT, _DB, _USER and _PASSWORD name.

The same as ``chandlery schema apply`` with those variables; safe to repeat.
"""

from __future__ import annotations

import sys

from chandlery.cli.exits import exit_code_of
from chandlery.errors import ChandleryError
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.schema import apply_schema


def main() -> int:
    """Apply the schema and say so; the exit code."""
    try:
        with PostgreSQLStorage.from_env() as storage:
            status = apply_schema(storage.database)
    except ChandleryError as error:
        print(f"setup_postgres_schema: {error}", file=sys.stderr)
        return exit_code_of(error)
    print(f"The schema is at revision {status.applied}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
