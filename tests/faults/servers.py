"""A PostgreSQL server of a test's own, which may be stopped, killed, frozen and filled up."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import make_conninfo

from chandlery.storage.database import Database
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.embedded_account import programs, server_account
from chandlery.storage.schema import apply_schema

Mode = Literal["fast", "immediate"]


class PrivateServer:
    """A durable server in a temporary folder. ``direct`` reaches it past any proxy."""

    def __init__(self, **options: str) -> None:
        self._options = options

    def __enter__(self) -> PrivateServer:
        self.folder = Path(tempfile.mkdtemp(prefix="chandlery-faults-"))
        self.folder.chmod(0o755)
        self._server = EmbeddedServer(self.folder / "server", options=self._options)
        self._server.start()
        self.direct = self._server.conninfo
        self._start_options = self._options_of_the_running_one()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self.control("stop", "-m", "immediate")
        self._server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def socket_folder(self) -> Path:
        return self._server.folder / "socket"

    @property
    def data(self) -> Path:
        return self._server.folder / "pgdata"

    def through(self, port: int) -> str:
        """The connection string of a proxy on ``port``."""
        return make_conninfo(self.direct, host="127.0.0.1", port=port)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        """Run one statement on a connection of its own, past any proxy."""
        with psycopg.connect(make_conninfo(self.direct, dbname=database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def make_schema(self) -> None:
        database = Database(self.direct)
        apply_schema(database)
        database.close()

    def give_up(self) -> None:
        """As a program does that ends."""
        self._server.stop()

    def stop(self, mode: Mode) -> None:
        self.control("stop", "-m", mode)

    def start(self) -> float:
        """Start it again as it was; returns when (monotonic seconds) it first accepted a connection."""
        give_up = time.monotonic() + 60
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                # without waiting: pg_ctl looks only ten times a second
                self.control("start", "-W", "-l", str(self.data / "server.log"), "-o", self._start_options)
            with contextlib.suppress(TimeoutError):
                return self._accepting(2.0)
            assert time.monotonic() < give_up, (self.data / "server.log").read_text()[-2000:]

    def ensure_running(self) -> None:
        """Start it if a test left it dead."""
        with contextlib.suppress(TimeoutError):
            self._accepting(0.5)
            return
        self.start()

    def restart(self, mode: Mode) -> float:
        self.stop(mode)
        return self.start()

    def kill(self) -> None:
        """kill -9 of the postmaster and all that it started: a power cut, but for the disk."""
        _signal(self.processes(), signal.SIGKILL)

    def terminate_backends(self) -> None:
        """As an administrator does."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chandlery'")

    def kill_a_backend(self) -> None:
        """kill -9 of one backend, upon which the server breaks all connections; returns when it has recovered."""
        working = "SELECT pid FROM pg_stat_activity WHERE application_name = 'chandlery' LIMIT 1"
        for (pid,) in self.execute(working):
            _signal([pid], signal.SIGKILL)
            while Path(f"/proc/{pid}").exists():  # until the postmaster has noticed
                time.sleep(0.005)
        self._accepting(30)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP to all its processes: it hangs, and its kernel goes on acknowledging."""
        pids = self.processes()
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)

    def processes(self) -> list[int]:
        """The postmaster and all that it started."""
        return [self._pid, *_children(self._pid)]

    def control(self, *arguments: str) -> None:
        account = server_account()
        subprocess.run(
            [str(programs(account) / "pg_ctl"), "-D", str(self.data), *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **account.as_process(),
        )

    def _options_of_the_running_one(self) -> str:
        """postmaster.opts holds the command line of the last start, each argument in double quotes."""
        _, _, options = (self.data / "postmaster.opts").read_text().partition(' "')
        return '"' + options.strip()

    def _accepting(self, within_s: float) -> float:
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.direct, connect_timeout=2).close()
                return time.monotonic()
            time.sleep(0.02)
        raise TimeoutError

    @property
    def _pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself a moment ago
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    """The processes whose parent is ``pid``."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # the name in parentheses may hold spaces
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
    return found
