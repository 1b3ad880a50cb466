"""PostgreSQL's own programs for dumps: which of those on this machine fits a server, and running them.

No secret stands on a command line, where everybody could read it: the connection's parameters are handed over in a
private service file, the password in the environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg

from chandlery.errors import ConfigurationError, DatabaseError
from chandlery.redaction import redact
from chandlery.storage.embedded_account import Account, programs

_SERVICE = "chandlery"
_INSTALLED = ("lib/postgresql/*/bin", "pgsql-*/bin")
_NOT_HANDED_OVER = ("service", "servicefile", "password", "replication")


@dataclass(frozen=True, slots=True)
class ClientPrograms:
    """pg_dump and pg_restore of one version in one folder."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, such as 18."""
        return int(self.version.split(".")[0])

    @contextlib.contextmanager
    def dumping(self, connection: psycopg.Connection, target: Path, snapshot: str, jobs: int) -> Iterator[Program]:
        """A pg_dump of the schema into the new folder ``target`` that sees what ``snapshot`` shows."""
        arguments = ["--format=directory", f"--jobs={jobs}", f"--snapshot={snapshot}", "--schema=chandlery"]
        arguments += ["--compress=1", f"--file={target}"]
        with self._started("pg_dump", connection, arguments) as program:
            yield program

    def restore(self, connection: psycopg.Connection, source: Path) -> None:
        """Bring a dump back into the database of ``connection``, in one transaction. Raises DatabaseError.

        What it makes belongs to whoever restores; rights that others had are not given again.
        """
        arguments = ["--format=directory", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
        server = connection.info.server_version // 10_000
        hint = f"It is of version {self.version}, the server of {server}; the portable form goes into any."
        with self._started("pg_restore", connection, [*arguments, str(source)]) as program:
            program.finish(hint=hint if self.major != server else "")

    @contextlib.contextmanager
    def _started(self, name: str, connection: psycopg.Connection, arguments: Sequence[str]) -> Iterator[Program]:
        """The program under way; it is stopped if the block is left before its end."""
        with tempfile.TemporaryDirectory(prefix="chandlery-") as private, tempfile.TemporaryFile() as said:
            service = Path(private, "service")
            service.write_text(_service_file(connection))
            command = [str(self.folder / name), "--no-password", f"--dbname=service={_SERVICE}", *arguments]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=_environment(connection, service),
                umask=0o077,
            )
            try:
                yield Program(name, process, said)
            finally:
                process.terminate()
                process.wait()


class Program:
    """A program under way."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._name, self._process, self._said = name, process, said

    def check(self) -> None:
        """Raises DatabaseError if it has failed by now."""
        if self._process.poll():
            self._fail()

    def finish(self, *, hint: str = "") -> None:
        """Wait for its end. Raises DatabaseError with ``hint`` if it fails."""
        if self._process.wait():
            self._fail(hint)

    def _fail(self, hint: str = "") -> None:
        self._said.seek(0)
        words = self._said.read().decode(errors="replace").strip()
        raise DatabaseError(f"{self._name} failed: {redact(words[-1000:])}", hint=hint)


def fitting(server: int, folders: Sequence[Path], *, made_by: int = 0) -> ClientPrograms:
    """The programs for a server of major version ``server``, and for a dump that version ``made_by`` made.

    They must not be older than either, and the nearest are best. Raises ConfigurationError.
    """
    least = max(server, made_by)
    found = [one for one in map(_looked_at, folders) if one is not None]
    fit = [one for one in found if one.major >= least]
    if fit:
        return min(fit, key=lambda one: one.major)
    there = ", ".join(f"{one.version} in {one.folder}" for one in found) or "none"
    raise ConfigurationError(
        f"pg_dump and pg_restore of PostgreSQL {least} or newer are needed; found: {there}.",
        hint="Install PostgreSQL's client programs, or name their folder in backup.programs.",
    )


def usual_folders() -> list[Path]:
    """Where the programs may be: on the PATH, where Linux installs each version, and with the embedded server."""
    found = [Path(path).parent for path in [shutil.which("pg_dump")] if path is not None]
    found += sorted(folder for pattern in _INSTALLED for folder in Path("/usr").glob(pattern))
    with contextlib.suppress(ConfigurationError):  # the embedded server is not installed
        found.append(programs(Account()))
    return found


def _looked_at(folder: Path) -> ClientPrograms | None:
    """The programs in a folder, or None if it has not both."""
    if not (folder / "pg_restore").exists():
        return None
    try:
        said = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", said)
    return None if version is None else ClientPrograms(folder, version[1])


def _service_file(connection: psycopg.Connection) -> str:
    """Where ``connection`` leads, as libpq settled it: of several hosts the one that answered."""
    known = connection.info.get_parameters() | {"host": connection.info.host, "port": str(connection.info.port)}
    if known.get("sslcertmode") == "allow":  # what newer libraries fill in by themselves, and older ones do not know
        del known["sslcertmode"]
    lines = [f"{name}={value}" for name, value in known.items() if name not in _NOT_HANDED_OVER and value]
    return "\n".join([f"[{_SERVICE}]", *lines, ""])


def _environment(connection: psycopg.Connection, service: Path) -> dict[str, str]:
    environment = os.environ | {"PGSERVICEFILE": str(service), "LC_ALL": "C"}
    if connection.info.password:
        environment["PGPASSWORD"] = connection.info.password
    return environment
