"""Who may do what in the database: four group roles, each able to do its work and nothing else.

    owner    changes the schema, seals, drops: all that chandlery can
    writer   collects: adds and changes candles, the ledger and what is kept beside them
    reader   reads, and hears what is announced
    backup   reads all, so that pg_dump can

They log nobody in: logins are made members of them. See docs/security.md.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass

from psycopg import sql

from chandlery.errors import ConfigurationError
from chandlery.storage.database import Database
from chandlery.storage.schema import require_schema
from chandlery.storage.sql import query

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The names of the four roles. Raises ConfigurationError for names that cannot be, or are not four."""

    owner: str = "chandlery_owner"
    writer: str = "chandlery_writer"
    reader: str = "chandlery_reader"
    backup: str = "chandlery_backup"

    def __post_init__(self) -> None:
        for name in astuple(self):
            if not _NAME.fullmatch(name) or name.lower().startswith("pg_") or name.lower() in ("public", "none"):
                raise ConfigurationError(
                    f"{name[:80]!r} cannot be the name of a role.", hint="Use letters, digits, _ and -, 63 at most."
                )
        if len(set(astuple(self))) < len(astuple(self)):
            raise ConfigurationError("two of the roles have the same name.", hint="Name four different ones.")


def roles_script(roles: Roles) -> str:
    """The SQL that makes the roles and says what each may do; whoever runs it twice changes nothing."""
    return _script(roles).as_string()


def apply_roles(database: Database, roles: Roles) -> None:
    """Make the roles and hand the schema to the owner among them, in one transaction; safe to repeat.

    Who calls it owns the tables and may make roles, or is a superuser. Raises DatabaseError.
    """
    require_schema(database, create=False)
    script = _script(roles)
    database.transact(lambda connection: connection.execute(script))


def _script(roles: Roles) -> sql.Composed:
    names = {"owner": roles.owner, "writer": roles.writer, "reader": roles.reader, "backup": roles.backup}
    identifiers = {role: sql.Identifier(name) for role, name in names.items()}
    literals = {f"{role}_name": sql.Literal(name) for role, name in names.items()}
    return query("make_roles", names=sql.Literal(list(names.values())), **identifiers, **literals)
