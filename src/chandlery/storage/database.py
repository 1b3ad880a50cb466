"""A PostgreSQL database: its pool of connections, transactions on them, and the errors they raise, translated.

Nothing here outlives a transaction (locks and settings are local to it), so that a pooler in transaction mode can
stand in between.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chandlery.errors import ConfigurationError, DatabaseError
from chandlery.storage.config import default_ssl_mode, url_parts
from chandlery.storage.deadline import Deadline, attended
from chandlery.storage.failures import READ_ONLY, Phase, translated
from chandlery.storage.login_files import with_service
from chandlery.storage.pool import Pool, PoolOptions
from chandlery.storage.resilience import Persistence

_ALIVE_WITHIN_S = 5.0
_GRACE_S = 0.5
"""How long a program that stops still waits for a server that says nothing."""

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
        self._deadline = Deadline(self.options.client_deadline_s)
        self._pool = Pool(
            self.connect,
            PoolOptions(
                kept=self.options.pool_size,
                most=self.options.pool_size + self.options.max_overflow,
                wait_s=self.options.pool_timeout_s,
                oldest_s=self.options.pool_recycle_s,
            ),
            alive=self._alive,
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

    def begin(self, work: Work[Result]) -> tuple[psycopg.Connection, Result]:
        """A connection of its own, outside the pool, on which ``work`` was done and nothing committed yet.

        The transaction stays open; the caller closes the connection, which undoes it. Raises DatabaseError.
        """

        def begin_once() -> tuple[psycopg.Connection, Result]:
            connection = self.connect()
            try:
                return connection, self._worked(connection, work, commit=False)
            except BaseException:
                connection.close()
                raise

        return self.persistence.run(begin_once)

    def connect(self) -> psycopg.Connection:
        """One attempt to make a connection; the caller closes it. Raises DatabaseError.

        It may have to wait for its turn: see ``Persistence.connecting``. Whoever wants it repeated uses
        ``persistence.run``.
        """

        def connect(_: object) -> psycopg.Connection:
            try:
                return psycopg.connect(self.conninfo, prepare_threshold=None)
            except psycopg.Error as error:
                failure = translated(error, broken=True, phase=Phase.CONNECT)
                # an unknown failure may be a mistake in the settings; only who was let in before waits it out
                failure.transient = failure.transient and (self._reached or failure.sqlstate is not None)
                raise failure from error

        connection = self.persistence.connecting(
            lambda: attended(
                connect,
                longest_silence_s=math.inf,  # the driver has its own limit, for each address
                given_up=self.persistence.given_up,
                when_late=_close_if_made,
            )
        )
        self._reached = True
        # whoever waited for a lock must see what its holder has done, whatever the server's default is
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return connection

    def _transact_once(self, work: Work[Result]) -> Result:
        with self._pool.connection() as connection:
            return self._worked(connection, work, commit=True)

    def _worked(self, connection: psycopg.Connection, work: Work[Result], *, commit: bool) -> Result:
        phase = Phase.EXECUTE
        try:
            with self._deadline.guard(connection), _undone_on_error(connection):
                self._set_limits(connection)
                result = work(connection)
                if commit:
                    phase = Phase.COMMIT
                    self._deadline.renew(connection)
                    connection.commit()
        except psycopg.Error as error:
            if error.sqlstate == READ_ONLY:  # a session that began before a failover stays read-only
                connection.close()
                self._pool.drop_idle()
            raise translated(error, broken=connection.broken, phase=phase) from error
        return result

    def progressed(self, connection: psycopg.Connection) -> None:
        """Long work on ``connection`` says that it is getting on, which renews the client's deadline."""
        self._deadline.renew(connection)

    def give_up(self) -> None:
        """Wait no longer for a server that is away or hangs: whatever it keeps waiting fails within about a second."""
        self.persistence.give_up()
        self._deadline.hurry(_GRACE_S)

    def take_heart(self) -> None:
        """Undo ``give_up``."""
        self._deadline.hurry(math.inf)
        self.persistence.take_heart()

    def pool_stats(self) -> dict[str, int]:
        """The pool's counters: pool_size, pool_available, requests_num, requests_waiting and others."""
        return self._pool.stats()

    def close(self) -> None:
        """Close all connections; the database object can be used no more."""
        self._pool.close()

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Driver errors raised inside, also behind SQLAlchemy, come out as ours."""
        try:
            yield
        except DatabaseError:
            raise
        except Exception as error:
            original = error if isinstance(error, psycopg.Error) else getattr(error, "orig", None)
            if not isinstance(original, psycopg.Error):
                raise
            # the connection is not at hand; without a code this class is what the driver makes of a lost one
            broken = isinstance(original, psycopg.OperationalError)
            raise translated(original, broken=broken, phase=Phase.EXECUTE) from error

    def _alive(self, connection: psycopg.Connection) -> bool:
        """Whether an idle connection is open still. Raises ConnectionError if its server hangs for a short while."""
        if not self.options.pool_pre_ping:
            return not connection.closed
        try:
            with self._deadline.guard(connection, min(_ALIVE_WITHIN_S, self.options.client_deadline_s)):
                connection.autocommit = True
                connection.execute("")
                connection.autocommit = False
        except psycopg.Error:
            return False
        return True

    def _set_limits(self, connection: psycopg.Connection) -> None:
        """Give the transaction that begins here limits of its own; they end with it."""
        connection.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),"
            " set_config('idle_in_transaction_session_timeout', %s, true)",
            [
                str(int(self.options.statement_timeout_s * 1000)),
                str(int(self.options.lock_timeout_s * 1000)),
                str(int(self.options.client_deadline_s * 1000)),
            ],
        )


def is_quiet(connection: psycopg.Connection) -> bool:
    """Whether an idle connection is open and its server has said nothing: what it says unasked is that it ends."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection, select.POLLIN | select.POLLRDHUP)
    return not poll.poll(0)


def _close_if_made(attempt: Future[psycopg.Connection]) -> None:
    if attempt.exception() is None:
        attempt.result().close()


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
    given = with_service(_parts(conninfo))
    host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST", "")
    defaults: dict[str, Any] = {
        "application_name": "chandlery",
        "connect_timeout": options.connect_timeout_s,
        "client_encoding": "UTF8",
        "keepalives_idle": options.keepalives_idle_s,
        "keepalives_interval": options.keepalives_interval_s,
        "keepalives_count": options.keepalives_count,
        "tcp_user_timeout": options.tcp_user_timeout_ms,
    }
    if "PGSSLMODE" not in os.environ:
        defaults["sslmode"] = default_ssl_mode(host)
    if "," in host:  # several hosts are a primary and its standbys
        defaults["target_session_attrs"] = "read-write"
    return make_conninfo(**{**defaults, **given})


def _parts(conninfo: str) -> dict[str, str]:
    if conninfo.startswith(("postgresql://", "postgres://")):
        return url_parts(conninfo)
    try:
        return {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "the database's connection string cannot be read.",
            hint="It should look like postgresql://user@host:5432/database.",
        ) from None
