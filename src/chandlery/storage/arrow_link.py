"""One connection that fetches Arrow tables, kept between calls and made anew when it broke."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from chandlery.errors import ConnectionError, DatabaseError
from chandlery.redaction import redact
from chandlery.storage.database import Database
from chandlery.storage.deadline import attended
from chandlery.storage.failures import FailureClass, classify_state, refused_connection

if TYPE_CHECKING:
    import pyarrow as pa

Result = TypeVar("Result")

_ONE_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SIZE_OF_BATCHES = "adbc.postgresql.batch_size_hint_bytes"


@dataclass(frozen=True, slots=True)
class Statements:
    """What can be asked on one connection; ``progressed`` is called whenever something was heard."""

    connection: Any
    progressed: Callable[[], None]

    def table(self, statement: str) -> pa.Table:
        """The rows of one statement. Raises what ADBC raises."""
        import pyarrow as pa

        with self.connection.cursor() as cursor:
            reader = self._executed(cursor, statement)
            return pa.Table.from_batches(list(self._heard(reader)), schema=reader.schema)

    def batches(self, statement: str, size: int) -> Iterator[pa.RecordBatch]:
        """The rows of one statement as they come, at least ``size`` bytes at a time but for the last."""
        with self.connection.cursor(adbc_stmt_kwargs={_SIZE_OF_BATCHES: str(size)}) as cursor:
            yield from self._heard(self._executed(cursor, statement))

    def _executed(self, cursor: Any, statement: str) -> pa.RecordBatchReader:
        cursor.execute(statement)
        return cursor.fetch_record_batch()

    def _heard(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            self.progressed()
            yield batch


class ArrowLink:
    """Fetches what statements select as Arrow tables, one caller at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._lock = threading.Lock()

    def fetch(self, statement: str) -> pa.Table:
        """The rows of one statement. Raises DatabaseError."""
        return self._persist(lambda statements: statements.table(statement))

    def in_snapshot(self, work: Callable[[Statements], Result]) -> Result:
        """Run ``work``, all of whose statements see the same moment. It runs again if a failure was waited out."""
        return self._persist(partial(_in_snapshot, work))

    def close(self) -> None:
        """Give the connection back; the next call makes a new one."""
        with self._lock:
            self._drop()

    def _persist(self, work: Callable[[Statements], Result]) -> Result:
        return self._database.persistence.run(lambda: self._once(work))

    def _once(self, work: Callable[[Statements], Result]) -> Result:
        from adbc_driver_manager import dbapi

        with self._lock:
            connection = self._connection = self._connection or self._database.persistence.connecting(self._connect)
            try:
                return attended(
                    lambda progressed: work(Statements(connection, progressed)),
                    longest_silence_s=self._database.options.client_deadline_s,
                    given_up=self._database.persistence.given_up,
                    when_late=lambda _: connection.close(),
                )
            except dbapi.Error as error:
                self._drop()
                raise _translated(error) from error
            except (ConnectionError, KeyboardInterrupt):
                self._connection = None  # whoever is left alone with it closes it
                raise
            except Exception:
                self._drop()  # it may be in the middle of a transaction
                raise

    def _connect(self) -> Any:
        import adbc_driver_postgresql.dbapi as adbc

        try:
            return adbc.connect(self._database.conninfo, autocommit=True)
        except adbc.Error as error:
            raise _translated(error) from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _in_snapshot(work: Callable[[Statements], Result], statements: Statements) -> Result:
    # an error closes the connection, and with it the transaction
    statements.table(_ONE_SNAPSHOT)
    result = work(statements)
    statements.table("COMMIT")
    return result


def _translated(error: Any) -> DatabaseError:
    """ADBC gives SQLSTATE in five characters, or zeros where libpq has none: then the connection failed."""
    state = (getattr(error, "sqlstate", None) or "").strip("\0").replace("00000", "") or None
    failure = classify_state(state) if state else refused_connection(str(error))
    message = f"PostgreSQL could not be read: {redact(str(error).strip().splitlines()[0]).rstrip('.')}."
    kind = ConnectionError if failure.kind is FailureClass.CONNECTION or state is None else DatabaseError
    return kind(message, hint=failure.hint, transient=failure.transient, sqlstate=state, kind=failure.kind.value)
