"""A PostgreSQL database: its pool of connections, transactions on them, and the errors they raise, translated.

Nothing here outlives a transaction (locks and settings are local to it), so that a pooler in transaction mode can
stand in between.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import psycopg_pool
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chandlery.errors import ConfigurationError, ConnectionError
from chandlery.storage.deadline import Deadline
from chandlery.storage.failures import Phase, translated
from chandlery.storage.resilience import Persistence

_ASK_AFTER_S = 1.0
_ALIVE_WITHIN_S = 5.0

Result = TypeVar("Result")
Work = Callable[[psycopg.Connection], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """How to hold connections and how long to wait. Units are in the names; the defaults suit a server nearby.

    ``client_deadline_s`` is how long work may show no progress before its connection is cut; ``patience_s`` is how
    long transient failures are waited out.
    """

    pool_size: int = 5
    max_overflow: int = 10
    pool_timeout_s: float = 30.0
    pool_recycle_s: float = 3600.0
    pool_pre_ping: bool = True
    connect_timeout_s: int = 5
    statement_timeout_s: float = 30.0
    lock_timeout_s: float = 5.0
    client_deadline_s: float = 40.0
    patience_s: float = 30.0
    tcp_user_timeout_ms: int = 10_000
    keepalives_idle_s: int = 5
    keepalives_interval_s: int = 3
    keepalives_count: int = 3


class Database:
    """One PostgreSQL database. Connections are made when first needed; ``close`` gives them back."""

    def __init__(self, conninfo: str, options: DatabaseOptions | None = None) -> None:
        """``conninfo`` is a libpq connection string or URL. Raises ConfigurationError if it is none."""
        self.options = options or DatabaseOptions()
        self.conninfo = _complete(conninfo, self.options)
        self.persistence = Persistence(patience_s=self.options.patience_s)
        self._reached = False
        self._suspect = True
        self._deadline = Deadline(self.options.client_deadline_s)
        self._pool = psycopg_pool.ConnectionPool(
            self.conninfo,
            min_size=0,
            max_size=self.options.pool_size + self.options.max_overflow,
            timeout=self.options.pool_timeout_s,
            max_lifetime=self.options.pool_recycle_s,
            # the pool's own attempts back off for minutes; ours (see _getconn) must be heard before that
            reconnect_timeout=2.0,
            check=self._check if self.options.pool_pre_ping else None,
            kwargs={"prepare_threshold": None},
            open=False,
        )

    def __repr__(self) -> str:
        return f"Database({self.name})"

    @property
    def name(self) -> str:
        """Where it is, without a secret: ``user@host:port/database``."""
        known = conninfo_to_dict(self.conninfo)
        port = f":{known['port']}" if "port" in known else ""
        return f"{known.get('user', '')}@{known.get('host', 'local')}{port}/{known.get('dbname', '')}"

    def transact(self, work: Work[Result]) -> Result:
        """Run ``work`` in one transaction on a pooled connection and commit it.

        ``work`` may be any number of statements; if it raises, all of them are undone. A transient failure is waited
        out, and then ``work`` runs again from the start; so it must depend on nothing that its first run used up.
        Raises DatabaseError.
        """
        return self.persistence.run(lambda: self._transact_once(work))

    def _transact_once(self, work: Work[Result]) -> Result:
        with self._connection() as connection:
            phase = Phase.EXECUTE
            try:
                with self._deadline.guard(connection), _undone_on_error(connection):
                    self._begin(connection)
                    result = work(connection)
                    phase = Phase.COMMIT
                    self._deadline.renew(connection)
                    connection.commit()
            except psycopg.Error as error:
                self._suspect = self._suspect or connection.broken
                raise translated(error, broken=connection.broken, phase=phase) from error
            return result

    def progressed(self, connection: psycopg.Connection) -> None:
        """Long work on ``connection`` says that it is getting on, which renews the client's deadline."""
        self._deadline.renew(connection)

    def connect(self) -> psycopg.Connection:
        """A connection of its own, outside the pool; the caller closes it. Raises ConnectionError, after patience."""
        return self.persistence.run(self._connect_once)

    def _connect_once(self) -> psycopg.Connection:
        def connect() -> psycopg.Connection:
            try:
                return psycopg.connect(self.conninfo, prepare_threshold=None)
            except psycopg.Error as error:
                # no SQLSTATE tells a wrong password from a server that is away; only who was let in before waits
                failure = translated(error, broken=True, phase=Phase.CONNECT)
                failure.transient = failure.transient and self._reached
                raise failure from error

        connection = self.persistence.connecting(connect)
        self._reached = True
        return connection

    def pool_stats(self) -> dict[str, int]:
        """The pool's counters, as psycopg_pool names them: pool_size, pool_available, requests_waiting, ..."""
        return self._pool.get_stats()

    def close(self) -> None:
        """Close all connections; the database object can be used no more."""
        self._pool.close()

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Driver errors raised inside, also behind SQLAlchemy, come out as ours."""
        try:
            yield
        except psycopg.Error as error:
            raise translated(error, broken=False, phase=Phase.EXECUTE) from error
        except Exception as error:
            original = getattr(error, "orig", None)
            if isinstance(original, psycopg.Error):
                raise translated(original, broken=False, phase=Phase.EXECUTE) from error
            raise

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        try:
            connection = self._getconn()
        except psycopg_pool.PoolClosed as error:
            raise ConnectionError(f"the connections to {self.name} were closed.", hint="Open it anew.") from error
        try:
            yield connection
        finally:
            self._pool.putconn(connection)

    def _getconn(self) -> psycopg.Connection:
        """A pooled connection, or at once the reason why there is none.

        The pool connects in the background and tells nobody why it fails. So before its first connection, after one
        broke, and when it has none to give although it may make more, one attempt of our own finds out.
        """
        self._pool.open()
        give_up = time.monotonic() + self.options.pool_timeout_s
        while True:
            if self._suspect:
                self._connect_once().close()
                self._suspect = False
            try:
                return self._pool.getconn(timeout=_ASK_AFTER_S)
            except psycopg_pool.PoolTimeout as error:
                self._suspect = self.pool_stats()["pool_size"] < self._pool.max_size
                if time.monotonic() > give_up:
                    raise ConnectionError(
                        f"no free connection to PostgreSQL within {self.options.pool_timeout_s:g} s.",
                        hint="Raise database.pool_size or database.max_overflow.",
                        transient=True,
                    ) from error

    def _check(self, connection: psycopg.Connection) -> None:
        """Is a pooled connection still alive? A server that hangs gets a short while to say so."""
        with self._deadline.guard(connection, _ALIVE_WITHIN_S):
            psycopg_pool.ConnectionPool.check_connection(connection)

    def _begin(self, connection: psycopg.Connection) -> None:
        """Open the transaction with its own limits; they end with it."""
        connection.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),"
            " set_config('idle_in_transaction_session_timeout', %s, true)",
            [
                str(int(self.options.statement_timeout_s * 1000)),
                str(int(self.options.lock_timeout_s * 1000)),
                str(int(self.options.client_deadline_s * 1000)),
            ],
        )


@contextlib.contextmanager
def _undone_on_error(connection: psycopg.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if not connection.broken:
            with contextlib.suppress(psycopg.Error):
                connection.rollback()
        raise


def _complete(conninfo: str, options: DatabaseOptions) -> str:
    """The connection string with our defaults for whatever it leaves open."""
    try:
        given: dict[str, Any] = dict(conninfo_to_dict(conninfo))
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "the database's connection string cannot be read.",
            hint="It should look like postgresql://user@host:5432/database.",
        ) from None
    defaults: dict[str, Any] = {
        "application_name": "chandlery",
        "connect_timeout": options.connect_timeout_s,
        "client_encoding": "UTF8",
        "keepalives_idle": options.keepalives_idle_s,
        "keepalives_interval": options.keepalives_interval_s,
        "keepalives_count": options.keepalives_count,
        "tcp_user_timeout": options.tcp_user_timeout_ms,
    }
    return make_conninfo(**{**defaults, **given})
