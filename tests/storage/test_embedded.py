"""The embedded server: private, shared by processes, stopped by the last one, and repaired by itself."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from chandlery.errors import ConfigurationError, DatabaseError
from chandlery.storage.embedded import EmbeddedServer


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that the server's own user may reach, as pytest's is not for root."""
    with tempfile.TemporaryDirectory(prefix="chandlery-embedded-") as made:
        Path(made).chmod(0o755)
        yield Path(made) / "home"


def answers(conninfo: str) -> bool:
    try:
        with psycopg.connect(conninfo) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_it_starts_keeps_its_data_and_stops(folder: Path) -> None:
    with EmbeddedServer(folder) as server, psycopg.connect(server.conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert not answers(server.conninfo)
    with EmbeddedServer(folder) as server, psycopg.connect(server.conninfo) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)


def test_nobody_else_gets_in(folder: Path) -> None:
    """No TCP, no folder that others may enter, no login without the password, and no password in sight."""
    with EmbeddedServer(folder) as server:
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        for private in (folder, folder / "pgdata", folder / "socket"):
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "pgpass").stat().st_mode) == 0o600
        assert not (folder / "initial-password").exists()
        password = (folder / "pgpass").read_text().strip().rsplit(":", 1)[1]
        assert password not in server.conninfo
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=str(folder / "socket"), user="chandlery", dbname="chandlery", passfile="/dev/null")


NOBODY = 65_534


def attempts(folder: Path, password: str) -> dict[str, Callable[[], object]]:
    """What another local user may try, also one who has learned the password."""
    login = {"user": "chandlery", "dbname": "chandlery", "password": password, "connect_timeout": 2}
    secret = folder / "pgpass"
    return {
        "connect to the socket": lambda: psycopg.connect(host=str(folder / "socket"), **login),
        "connect by TCP": lambda: psycopg.connect(host="127.0.0.1", **login),
        "look into the folder": lambda: list(folder.iterdir()),
        "look into the data": lambda: list((folder / "pgdata").iterdir()),
        "read the password": secret.read_text,
        "read the log": (folder / "pgdata" / "server.log").read_text,
        "put a file there": (folder / "mine").touch,
        "take the socket's place": lambda: (folder / "socket").rename(folder / "mine"),
    }


def succeeding_as(uid: int, tries: dict[str, Callable[[], object]]) -> str:
    """The names of the attempts that succeed in a process of that user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(writer, ", ".join(name for name, attempt in tries.items() if _works(attempt)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        return told.read()


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, psycopg.Error):
        return False
    return True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; run it as root")
def test_another_local_user_is_refused_whatever_he_tries(folder: Path) -> None:
    """By the folders' permissions, even with the right password; a sound attempt by us shows that it is tried well."""
    with EmbeddedServer(folder):
        password = (folder / "pgpass").read_text().strip().rsplit(":", 1)[1]
        tries = attempts(folder, password)
        assert succeeding_as(NOBODY, tries) == ""
        assert succeeding_as(0, {name: tries[name] for name in ("connect to the socket", "read the log")}) == (
            "connect to the socket, read the log"
        )


def test_the_last_process_stops_it(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from chandlery.storage.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(Path(sys.argv[1])); server.start(); print('up', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "up\n"
    with EmbeddedServer(folder) as server:
        pass
    assert answers(server.conninfo), "another process still uses it"
    with EmbeddedServer(folder):
        other.communicate(timeout=20)
        assert answers(server.conninfo), "we still use it"
    assert not answers(server.conninfo)


def test_a_killed_user_does_not_keep_it_from_stopping(folder: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from chandlery.storage.embedded import EmbeddedServer\n"
        "EmbeddedServer(Path(sys.argv[1])).start(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with EmbeddedServer(folder) as server:
        assert answers(server.conninfo)
    assert not answers(server.conninfo)


def test_a_killed_server_comes_back_with_its_data(folder: Path) -> None:
    with EmbeddedServer(folder) as server:
        with psycopg.connect(server.conninfo) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        postmaster = int((folder / "pgdata" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        while answers(server.conninfo):
            time.sleep(0.05)
        with EmbeddedServer(folder) as again, psycopg.connect(again.conninfo) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_long_path_still_has_a_socket(folder: Path) -> None:
    deep = folder.parent / ("a-rather-long-name" * 8) / "home"
    deep.parent.mkdir()
    with EmbeddedServer(deep) as server:
        assert answers(server.conninfo)


def test_data_of_another_version_is_left_alone(folder: Path) -> None:
    with EmbeddedServer(folder):
        pass
    (folder / "pgdata" / "PG_VERSION").write_text("16\n")
    with pytest.raises(DatabaseError, match="belongs to PostgreSQL 16"):
        EmbeddedServer(folder).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user; run it as root")
def test_root_is_told_when_the_servers_user_cannot_reach_the_folder(folder: Path) -> None:
    folder.parent.chmod(0o700)
    with pytest.raises(ConfigurationError, match="may not enter"):
        EmbeddedServer(folder).start()
