"""How other libraries reach the server of the run."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import psycopg
import sqlalchemy


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A database, in the spellings that other libraries understand."""

    conninfo: str
    host: str
    port: int
    user: str
    password: str
    database: str

    @classmethod
    def to(cls, conninfo: str) -> Link:
        """Look the parts of a connection string up, the password too where it stands in a file."""
        with psycopg.connect(conninfo) as connection:
            info = connection.info
            return cls(
                conninfo=conninfo,
                host=info.host,
                port=info.port,
                user=info.user,
                password=info.password,
                database=info.dbname,
            )

    @property
    def url(self) -> str:
        """With the password, for libraries that take nothing else; a folder of a socket is the host, in percents."""
        user, password, host = (quote(part, safe="") for part in (self.user, self.password, self.host))
        return f"postgresql://{user}:{password}@{host}:{self.port}/{quote(self.database, safe='')}"

    def engine(self) -> sqlalchemy.Engine:
        """For pandas."""
        return sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(self.conninfo))

    async def asyncpg(self) -> Any:
        """A connection of asyncpg."""
        import asyncpg

        return await asyncpg.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, database=self.database
        )


def installed(library: str) -> bool:
    """Whether a library that only the benchmark needs is there; without it, its way is left out."""
    return importlib.util.find_spec(library) is not None
