"""A password that is planted in every place where one may stand is found in no other, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chandlery.settings import load_settings
from processes import Done, Running, Shell, as_url

SECRET = "Pl4nted-S3cret+/&"
"""Has characters that a URL escapes, so that it may come out in two forms."""
FORMS = (SECRET, quote(SECRET, safe=""), SECRET.lower(), "Pl4nted", "S3cret")
LOUD = {"CHANDLERY_LOGGING_LEVEL": "debug", "CHANDLERY_LOGGING_FORMAT": "json", "CHANDLERY_LOGGING_FILE": "events.log"}


@pytest.fixture
def planted(database_url: str) -> Iterator[str]:
    """A database whose user has that password, as a connection string without any other way in."""
    known = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    user = f"planted_{known['dbname'][-12:]}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        statement = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
        admin.execute(statement.format(sql.Identifier(user), SECRET))
    yield make_conninfo(host=known["host"], dbname=known["dbname"], user=user, password=SECRET)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))


def assert_clean(done: Done, folder: Path) -> None:
    """Neither what the process wrote on its screen nor any file of its folder has it."""
    found = {"output": done.text}
    found |= {path.name: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}
    for where, text in found.items():
        assert where == "secret" or not any(form in text for form in FORMS), where


def loud(shell: Shell, url: str, folder: Path) -> Shell:
    return Shell(folder=folder, variables={**shell.variables, **LOUD, "CHANDLERY_DATABASE_URL": url})


def test_commands_that_succeed_tell_it_to_nobody(shell: Shell, planted: str, tmp_path: Path) -> None:
    """Not on the screen, not as JSON, not in the log, and not in any table."""
    told = loud(shell, as_url(planted), tmp_path)
    commands = (
        ("collect", "BTC-USDT", "--since", "2024-02-29", "--json"),
        ("status", "--json"),
        ("doctor", "--json"),
        ("doctor",),
        ("schema", "status", "--json"),
        ("schema", "roles", "--print"),
    )
    for command in commands:
        done = told.run(*command)
        assert done.code in (0, 1), done.text  # the market's clock stands still, which doctor does not like
        assert_clean(done, tmp_path)
    with psycopg.connect(planted) as connection:
        tables = "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'chandlery'::regnamespace"
        for (table,) in connection.execute(f"{tables} AND relkind IN ('r', 'p')").fetchall():
            rows = connection.execute(f"SELECT t::text FROM {table} AS t").fetchall()
            assert not any(form in row for (row,) in rows for form in FORMS), table


def wrong(planted: str) -> dict[str, str]:
    """URLs with the password in them with which nothing can be reached, by what is wrong."""
    right = as_url(planted)
    escaped = quote(SECRET, safe="")
    return {
        "another user": as_url(planted, user="chandlery"),
        "another database": as_url(planted, dbname="nowhere"),
        "nobody there": f"postgresql://quant:{escaped}@127.0.0.1:1/candles",
        "no such host": f"postgresql://quant:{escaped}@no.such.host.invalid/candles",
        "not escaped": "postgresql://quant:Pl4nted@S3cret@127.0.0.1/candles",
        "a stray slash": "postgresql://quant:Pl4nted/S3cret@127.0.0.1/candles",
        "an unknown parameter": f"{right}&pasword={escaped}",
        "no URL": f"quant:{escaped}@127.0.0.1/candles",
    }


def test_no_failure_tells_it(shell: Shell, planted: str, tmp_path: Path) -> None:
    begun: dict[str, Running] = {}
    for number, (name, url) in enumerate(wrong(planted).items()):
        folder = tmp_path / name
        folder.mkdir()
        begun[name] = loud(shell, url, folder).start(*(("doctor", "--json"), ("status",))[number % 2])
        if number % 2:
            begun[name].process.wait(60)
    for name, process in begun.items():
        done = process.done()
        assert done.code != 0, (name, done.text)
        assert_clean(done, tmp_path / name)


CRASH = """
import sys
from chandlery.cli import main
from chandlery.storage.database import Database
def broken(self, connection):
    raise ZeroDivisionError("a fault of the program")
Database._set_limits = broken
sys.exit(main(["status"]))
"""


def test_a_traceback_does_not_tell_it(shell: Shell, planted: str, tmp_path: Path) -> None:
    done = loud(shell, as_url(planted), tmp_path)._start(["-c", CRASH], {}).done()
    assert "ZeroDivisionError" in done.err
    assert "Traceback" in done.err
    assert_clean(done, tmp_path)


def test_a_password_from_a_file_or_a_service_is_told_by_nobody_either(
    shell: Shell, planted: str, tmp_path: Path
) -> None:
    known = {name: str(value) for name, value in conninfo_to_dict(planted).items()}
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    secret = secrets / "secret"
    without = f"postgresql://{known['user']}@/{known['dbname']}?host={quote(known['host'], safe='')}"
    secret.write_text(SECRET)
    told = loud(shell, without, tmp_path)
    for where in ({"CHANDLERY_DATABASE_PASSWORD_FILE": str(secret)}, {"PGPASSWORD": SECRET}):
        done = told.run("status", "--json", **where)
        assert done.code == 0, done.text
        assert_clean(done, tmp_path)
    secret.write_text("[here]\n" + "".join(f"{name}={value}\n" for name, value in known.items()))
    done = loud(shell, "postgresql:///?service=here", tmp_path).run("status", PGSERVICEFILE=str(secret))
    assert done.code == 0, done.text
    assert_clean(done, tmp_path)


def test_a_password_on_the_command_line_is_refused(shell: Shell, planted: str, tmp_path: Path) -> None:
    done = shell.run("import", "--from-table", "public.candles", "--from-database", as_url(planted))
    assert (done.code, "every user of this machine" in done.err, ".pgpass" in done.err) == (2, True, True)
    assert_clean(done, tmp_path)


def test_no_value_shows_it(planted: str) -> None:
    """What a program prints of its settings, its configuration and its database."""
    from chandlery.storage.postgres import PostgreSQLStorage

    settings = load_settings(environ={"CHANDLERY_DATABASE_URL": as_url(planted)})
    shown = f"{settings!r} {settings} {settings.database.postgres()!r}"
    with PostgreSQLStorage(planted) as storage:
        shown += f"{storage!r} {storage.database!r} {storage.database.name}"
    assert not any(form in shown for form in FORMS)
