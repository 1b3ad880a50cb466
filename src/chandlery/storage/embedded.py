"""A private PostgreSQL server for those who have none.

The binaries come from a package; the launcher is ours, because the package's own trusts every local user and changes
the permissions of folders above the data. This server has no TCP, keeps socket and data in folders that only their
owner may enter, asks for a random password even there, and has checksums on.

Any number of processes share one server: each holds a shared lock on ``users.lock`` while it uses it, and whoever
gives up the last one stops the server. The operating system drops the lock of a process that dies, so nothing is
left to repair.

PostgreSQL refuses to run as root. When root calls, the server runs as the system user ``chandlery``, which is made if
it is absent.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chandlery.errors import ConfigurationError, ConnectionError, DatabaseError
from chandlery.storage.embedded_account import (
    MAJOR,
    ROOT_HOME,
    SERVER_USER,
    Account,
    is_root,
    may_enter,
    programs,
    server_account,
)

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

DATABASE = "chandlery"
_LONGEST_SOCKET_PATH = 100
_START_TIMEOUT_S = 60


def default_folder() -> Path:
    """Where the embedded server keeps its data unless a setting says otherwise: the user's own data folder."""
    import platformdirs

    return ROOT_HOME / "server" if is_root() else Path(platformdirs.user_data_dir("chandlery"))


class EmbeddedServer:
    """A PostgreSQL server in ``folder``, shared by all processes that open it, stopped by the last one.

    Use it as a context manager, or ``start`` and ``stop``. ``conninfo`` is a libpq connection string without a
    secret: the password stands in a file that only the owner can read.
    """

    def __init__(self, folder: Path, *, durable: bool = True, options: dict[str, str] | None = None) -> None:
        """``durable=False`` trades crash safety for speed, for throw-away servers; ``options`` are server settings."""
        if fcntl is None:
            raise ConfigurationError(
                "the embedded PostgreSQL needs Unix sockets, which this system lacks.",
                hint="Set CHANDLERY_DATABASE_URL to a server of your own.",
            )
        self.folder = folder.expanduser().absolute()
        self._data = self.folder / "pgdata"
        self._password_file = self.folder / "pgpass"
        self._durable = durable
        self._options = options or {}
        self._users: IO[bytes] | None = None

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def conninfo(self) -> str:
        """The libpq connection string of the server's database."""
        return self._conninfo_of(DATABASE)

    def start(self) -> None:
        """Start the server, or join the one that runs. Raises ConnectionError if it cannot be started."""
        if self._users is not None:
            return
        account = server_account()
        _make_private_folder(self.folder, account)
        with self._turn(), contextlib.ExitStack() as undo:
            users = undo.enter_context((self.folder / "users.lock").open("ab"))
            fcntl.flock(users, fcntl.LOCK_SH)
            self._ensure_initialised(account)
            self._ensure_running(account)
            self._ensure_database()
            undo.pop_all()
        self._users = users
        atexit.register(self.stop)

    def stop(self) -> None:
        """Give the server up; it stops if no other process uses it."""
        users, self._users = self._users, None
        if users is None:
            return
        atexit.unregister(self.stop)
        with self._turn(), users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody else still uses it
            if (self._data / "postmaster.pid").exists():
                self._shut_down()

    def _shut_down(self) -> None:
        try:
            self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop", account=server_account())
        except ConnectionError:
            if _reachable(self._conninfo_of("postgres")):  # else it was killed, and left its lock file behind
                raise

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        with (self.folder / "start.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _ensure_initialised(self, account: Account) -> None:
        if (self._data / "PG_VERSION").exists():
            found = (self._data / "PG_VERSION").read_text().strip()
            if found != MAJOR:
                raise DatabaseError(
                    f"the data in {self._data} belongs to PostgreSQL {found}; this program brings {MAJOR}.",
                    hint="Move it by a backup that the older program makes: docs/upgrade.md.",
                )
            return
        # a first start that was interrupted leaves half a cluster, which never held data
        shutil.rmtree(self._data, ignore_errors=True)
        aside = self.folder / "pgdata.new"
        shutil.rmtree(aside, ignore_errors=True)
        password = secrets.token_urlsafe(24)
        handed = _private_file(self.folder / "initial-password", f"{password}\n", account)
        try:
            arguments = ["-D", str(aside), "-U", SERVER_USER, "-A", "scram-sha-256", f"--pwfile={handed}"]
            arguments += ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
            self._run("initdb", *arguments, *([] if self._durable else ["--no-sync"]), account=account)
        finally:
            handed.unlink()
        _private_file(self._password_file, f"*:*:*:{SERVER_USER}:{password}\n")
        aside.rename(self._data)

    def _ensure_running(self, account: Account) -> None:
        if _reachable(self._conninfo_of("postgres")):
            return
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._make_socket_folder(account)),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "max_wal_size": "2GB",
            "shared_buffers": "256MB",
            "password_encryption": "scram-sha-256",
            **({} if self._durable else {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}),
            **self._options,
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        log = self._data / "server.log"
        # a postmaster that was killed may still hold its lock file for a moment, so one refusal is not the end
        give_up = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                arguments = ["-D", str(self._data), "-l", str(log), "-o", options, "-w", "-t", str(_START_TIMEOUT_S)]
                self._run("pg_ctl", *arguments, "start", account=account)
                return
            except ConnectionError:
                if _reachable(self._conninfo_of("postgres")):
                    return
                if time.monotonic() > give_up or not _lock_file_in_the_way(log):
                    raise
                time.sleep(0.5)

    def _ensure_database(self) -> None:
        import psycopg
        from psycopg import sql

        with psycopg.connect(self._conninfo_of("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _conninfo_of(self, database: str) -> str:
        from psycopg.conninfo import make_conninfo

        return make_conninfo(
            host=str(self._socket_folder()), dbname=database, user=SERVER_USER, passfile=str(self._password_file)
        )

    def _socket_folder(self) -> Path:
        pointer = self.folder / "socket-folder"
        return Path(pointer.read_text()) if pointer.exists() else self.folder / "socket"

    def _make_socket_folder(self, account: Account) -> Path:
        """The folder of the socket: beside the data, or a private temporary one where that path is too long."""
        beside = self.folder / "socket"
        if len(str(beside / ".s.PGSQL.5432")) <= _LONGEST_SOCKET_PATH:
            _make_private_folder(beside, account)
            return beside
        elsewhere = Path(tempfile.mkdtemp(prefix="chandlery-"))
        account.own(elsewhere)
        _private_file(self.folder / "socket-folder", str(elsewhere))
        return elsewhere

    def _run(self, program: str, *arguments: str, account: Account) -> None:
        command = [str(programs(account) / program), *arguments]
        # the server inherits the output of pg_ctl, so a pipe would never close: a file takes it
        with tempfile.TemporaryFile() as output:
            finished = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,  # Ctrl-C in a terminal is for us, not for the server
                check=False,
                **account.as_process(),
            )
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if finished.returncode:
            raise ConnectionError(
                f"{program} failed for the embedded PostgreSQL in {self.folder}: {said[-500:]}",
                hint=f"Its log is {self._data / 'server.log'}.",
            )


def _make_private_folder(folder: Path, account: Account) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if account.uid is None and folder.stat().st_uid != os.getuid():
        raise ConfigurationError(
            f"{folder} belongs to another user.", hint="Set CHANDLERY_DATA_FOLDER to one of yours."
        )
    folder.chmod(0o700)
    account.own(folder)
    if account.uid is not None and not may_enter(folder.parent, account.uid):
        raise ConfigurationError(
            f"the embedded PostgreSQL runs as {SERVER_USER!r}, who may not enter {folder.parent}.",
            hint=f"Set CHANDLERY_DATA_FOLDER to a folder below one that everybody may enter, such as {ROOT_HOME}.",
        )


def _private_file(path: Path, text: str, account: Account | None = None) -> Path:
    """Write a file that never exists with wider permissions than its owner's."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    if account is not None:
        account.own(path)
    return path


def _reachable(conninfo: str) -> bool:
    import psycopg

    try:
        psycopg.connect(conninfo, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _lock_file_in_the_way(log: Path) -> bool:
    return log.exists() and "lock file" in log.read_text(errors="replace")[-2000:]
