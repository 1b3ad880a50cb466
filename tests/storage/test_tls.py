"""A server elsewhere must prove who it is; a program that cannot check that says what to set."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chandlery.errors import ConnectionError
from chandlery.storage.arrow_link import ArrowLink
from chandlery.storage.database import Database
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.embedded_account import server_account
from other_servers import builds, running, speaks_tls, tls_front
from processes import Shell

NAME = "db.chandlery.test"
"""No name of this machine, so that the server counts as one elsewhere; ``hostaddr`` says where it really is."""

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None,
    reason="there is no openssl on this machine, which makes the certificate; on Debian: apt-get install openssl",
)


@dataclass(frozen=True)
class TlsServer:
    """A server on loopback TCP. ``known`` is how it is reached; ``certificate`` is its own authority's."""

    certificate: Path
    known: dict[str, str]

    def elsewhere(self, **more: str) -> str:
        """As a machine of another name."""
        return make_conninfo(**{**self.known, "host": NAME, **more})


def _address(network: int) -> str:
    """A loopback address of this process's own, so that tests side by side do not meet."""
    return f"127.{network}.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"


@pytest.fixture(scope="module", params=["TLS in front of our server", "a server built with TLS"])
def server(request: pytest.FixtureRequest) -> Iterator[TlsServer]:
    address = _address(84)
    with tempfile.TemporaryDirectory(prefix="chandlery-tls-") as made, ExitStack() as stack:
        folder = Path(made)
        folder.chmod(0o755)
        certificate, key = _certificate(folder)
        if request.param == "a server built with TLS":
            able = [programs for programs in builds().values() if speaks_tls(programs)]
            if not able:
                pytest.skip("no PostgreSQL here was built with TLS; on Debian: apt-get install postgresql")
            files = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
            given = conninfo_to_dict(stack.enter_context(running(able[0], listen_addresses=address, **files)))
            password = str(given["password"])
        else:
            ours = stack.enter_context(EmbeddedServer(folder / "server", durable=False))
            given = conninfo_to_dict(ours.conninfo)
            stack.enter_context(tls_front(Path(str(given["host"])) / ".s.PGSQL.5432", address, certificate, key))
            password = Path(str(given["passfile"])).read_text().strip().rpartition(":")[2]
        login = {"user": str(given["user"]), "dbname": str(given["dbname"]), "password": password}
        yield TlsServer(certificate, {**login, "hostaddr": address})


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "server.crt", folder / "server.key"
    command = ["openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-newkey", "rsa:2048", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    server_account().own(key)
    return certificate, key


def says_tls(conninfo: str) -> bool:
    """Whether the connection is encrypted, once both drivers got in."""
    with closing(Database(conninfo)) as database, closing(ArrowLink(database)) as link:
        assert link.fetch("SELECT 1 AS one")["one"][0].as_py() == 1
        return database.transact(lambda connection: bool(connection.pgconn.ssl_in_use))


def refused(conninfo: str) -> tuple[str, str]:
    """What both drivers say, which must be no failure that is waited out."""
    with closing(Database(conninfo)) as database, closing(ArrowLink(database)) as link:
        with pytest.raises(ConnectionError) as told:
            database.transact(lambda connection: connection.execute("SELECT 1"))
        with pytest.raises(ConnectionError) as told_by_arrow:
            link.fetch("SELECT 1")
    assert not told.value.transient
    assert not told_by_arrow.value.transient
    return told.value.hint, told_by_arrow.value.hint


def test_a_server_whose_authority_and_name_are_known_is_let_in(server: TlsServer) -> None:
    assert says_tls(server.elsewhere(sslrootcert=str(server.certificate)))


def test_without_the_authority_nothing_is_sent_and_the_setting_is_named(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whether there is no certificate of an authority at all, or only those of others."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for conninfo in (server.elsewhere(), server.elsewhere(sslrootcert="system")):
        for hint in refused(conninfo):
            assert "database.ssl_root_cert" in hint
            assert "database.ssl_mode" in hint


def test_another_name_than_the_certificates_is_refused(server: TlsServer) -> None:
    for hint in refused(server.elsewhere(host="other.chandlery.test", sslrootcert=str(server.certificate))):
        assert "name in its certificate" in hint


def test_whoever_chooses_otherwise_gets_what_he_chose(server: TlsServer) -> None:
    assert says_tls(server.elsewhere(sslmode="require"))
    assert not says_tls(server.elsewhere(sslmode="disable"))


def test_this_machine_needs_no_certificate(server: TlsServer) -> None:
    assert says_tls(make_conninfo(**{**server.known, "host": server.known["hostaddr"]}))


def test_a_server_elsewhere_without_tls_is_refused_and_the_choice_is_named(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="chandlery-plain-") as made:
        Path(made).chmod(0o755)
        address = _address(85)
        with EmbeddedServer(Path(made) / "server", durable=False, options={"listen_addresses": address}) as started:
            given = {name: str(value) for name, value in conninfo_to_dict(started.conninfo).items()}
            root = tmp_path / "root.crt"
            _certificate(tmp_path)[0].rename(root)
            conninfo = make_conninfo(**{**given, "host": NAME, "hostaddr": address, "sslrootcert": str(root)})
            for hint in refused(conninfo):
                assert "database.ssl_mode" in hint
            assert not says_tls(make_conninfo(conninfo, sslmode="prefer", sslrootcert=""))


def test_a_command_says_it_in_one_sentence(server: TlsServer, tmp_path: Path) -> None:
    """The settings file names server, password file and authority; without the authority the command says so."""
    password = tmp_path / "password"
    password.write_text(server.known["password"] + "\n")
    parts = server.known
    url = f"postgresql://{parts['user']}@{NAME}/{parts['dbname']}?hostaddr={parts['hostaddr']}"
    variables = {"CHANDLERY_DATABASE_URL": url, "CHANDLERY_DATABASE_PASSWORD_FILE": str(password)}
    shell = Shell(folder=tmp_path, variables=variables)
    done = shell.run("schema", "status")
    assert (done.code, "database.ssl_root_cert" in done.err) == (3, True)
    done = shell.run("schema", "status", CHANDLERY_DATABASE_SSL_ROOT_CERT=str(server.certificate))
    assert (done.code, "no schema" in done.out) == (1, True), done.text
