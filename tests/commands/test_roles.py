"""Each of the four roles does its work, as a real login, and nothing else."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pandas as pd
import psycopg
import pytest
from market import assert_complete, days, series
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from candles import START, candles, changed
from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import TIMEFRAMES, timeframe
from chandlery.errors import ConfigurationError, DatabaseError
from chandlery.services.seal import Sealer
from chandlery.simulator import Simulator
from chandlery.storage.announcements import listen
from chandlery.storage.database import Database
from chandlery.storage.delivery import Delivery, SaveResult
from chandlery.storage.embedded_account import programs, server_account
from chandlery.storage.partitions import partitions_of
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.roles import Roles, apply_roles, roles_script
from chandlery.storage.schema import apply_schema, schema_status, upgrade_to
from processes import Shell, as_url

PASSWORD = "of-a-test"
MAY = ("owner", "writer", "reader", "backup")
Login = Callable[[str], str]


@pytest.fixture
def roles(database_url: str) -> Iterator[Roles]:
    """The four roles under names of this test's own, and a login in each, called ``<role>_login``."""
    mark = f"t{uuid.uuid4().hex[:10]}"
    made = Roles(owner=f"{mark}_owner", writer=f"{mark}_writer", reader=f"{mark}_reader", backup=f"{mark}_backup")
    with closing(Database(database_url)) as database:
        apply_roles(database, made)
        apply_roles(database, made)
    names = [getattr(made, role) for role in MAY]
    with psycopg.connect(database_url, autocommit=True) as admin:
        for name in names:
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}")
            admin.execute(statement.format(sql.Identifier(f"{name}_login"), PASSWORD, sql.Identifier(name)))
    yield made
    gone = conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(make_conninfo(database_url, dbname="postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(gone))))
        for name in names:
            admin.execute(sql.SQL("DROP ROLE {}, {}").format(sql.Identifier(f"{name}_login"), sql.Identifier(name)))


@pytest.fixture
def login(database_url: str, roles: Roles) -> Login:
    """The connection string of a member of a role."""
    return lambda role: make_conninfo(database_url, user=f"{getattr(roles, role)}_login", password=PASSWORD)


def write(storage: PostgreSQLStorage, *batches: CandleBatch) -> SaveResult:
    return storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])


def filled(url: str) -> None:
    with PostgreSQLStorage(url) as storage:
        write(storage, candles(series_of("BTC-USDT"), 600), candles(series_of("BTC-USDT", "1h"), 10))


def series_of(symbol: str, interval: str = "1m") -> Series:
    return Series("okx", symbol, timeframe(interval))


def test_a_writer_collects_and_makes_coarser_candles(
    login: Login, shell: Shell, exchange: Simulator, storage: PostgreSQLStorage
) -> None:
    """The whole command: instruments, partitions, candles, ledger, the run, and a roll-up."""
    shell.variables["CHANDLERY_DATABASE_URL"] = as_url(login("writer"))  # type: ignore[index]
    wanted = ("--since", "2024-02-28", "--until", "2024-02-29", "-t", "1m,1h", "--from", "1m")
    done = shell.run("collect", "BTC-USDT", *wanted)
    assert done.code == 0, done.text
    for interval in ("1m", "1h"):
        assert_complete(storage, exchange, series("BTC-USDT", interval), days(2))
    told = shell.run("doctor", "--json")
    assert {check["name"]: check["ok"] for check in told.json}["permissions"], told.text


def test_a_writer_stores_micro_batches_revisions_and_rejected_rows(login: Login) -> None:
    with PostgreSQLStorage(login("writer")) as storage:
        batches = [candles(series_of(f"A{number}-USDT"), 3) for number in range(12)]
        assert write(storage, *batches) == SaveResult(inserted=36)
        assert write(storage, changed(batches[0], slice(1, 2))) == SaveResult(unchanged=2, revised=1)
        frame = pd.DataFrame({"timestamp": [START], "open": 1.0, "high": 0.5, "low": 1.0, "close": 1.0, "volume": 1.0})
        assert storage.save_ohlcv_data(frame, "BTC-USDT", "1m").rejected == 1


def test_a_writer_makes_the_partitions_of_every_timeframe(login: Login, storage: PostgreSQLStorage) -> None:
    """The function in the database and the program name the same partitions with the same bounds."""
    with psycopg.connect(login("writer"), autocommit=True) as writer:
        for name in TIMEFRAMES:
            for moment in ("2009-12-31 23:59Z", "2010-01-01Z", "2024-02-29 12:00Z"):
                writer.execute("SELECT chandlery.make_partition(%s, %s)", [name, moment])
        bounds: dict[str, str] = dict(
            writer.execute(
                "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relkind = 'r' AND relispartition"
            ).fetchall()
        )
    expected: dict[str, Span] = {}
    for bar in map(timeframe, TIMEFRAMES):
        for opens in (1_262_303_940_000, 1_262_304_000_000, 1_709_208_000_000):
            expected |= partitions_of(bar, Span(opens, opens + 1))
    assert bounds.keys() == expected.keys()
    for table, span in expected.items():
        for edge in (span.start, span.end):
            assert str(np.datetime64(edge, "ms"))[:10] in bounds[table]


@pytest.mark.parametrize(("name", "moment"), [("2m", "2024-01-01Z"), ("1m", "1969-12-31Z"), ("1m", "2200-01-01Z")])
def test_no_partition_is_made_of_nonsense(login: Login, name: str, moment: str) -> None:
    with psycopg.connect(login("writer")) as writer, pytest.raises(errors.InvalidParameterValue):
        writer.execute("SELECT chandlery.make_partition(%s, %s)", [name, moment])


def test_the_owner_seals_and_a_writer_writes_into_it_all_the_same(login: Login, database_url: str) -> None:
    month = candles(series_of("BTC-USDT"), 31 * 1440)
    next_month = candles(series_of("BTC-USDT"), 29 * 1440, start=START + 31 * 86_400_000)
    with PostgreSQLStorage(login("writer")) as writer:
        write(writer, month, next_month)
        with PostgreSQLStorage(login("owner")) as owner:
            [entry] = owner.ledger.entries()
            assert Sealer(owner).seal(entry, before=START + 40 * 86_400_000).spans == 1
        with pytest.raises(DatabaseError, match="permission denied"):
            Sealer(writer).seal(entry, before=START + 80 * 86_400_000)
        assert write(writer, changed(month, slice(0, 1))) == SaveResult(unchanged=31 * 1440 - 1, revised=1)


def test_a_reader_reads_everything_and_hears_what_is_stored(login: Login, shell: Shell, database_url: str) -> None:
    filled(database_url)
    with PostgreSQLStorage(login("reader")) as reader:
        assert len(reader.get_ohlcv_data("BTC-USDT", "1m")) == 600
        assert len(reader.get_aligned("BTC-USDT", "1m", "1h")) == 600
        assert len(reader.get_latest_candles(interval="1m")) == 1
        with psycopg.connect(login("reader")) as by_hand:
            by_hand.execute("SELECT * FROM chandlery.ohlcv LIMIT 1")
            by_hand.execute("SELECT * FROM chandlery.aligned('BTC-USDT', '1m', '1h', '2024-01-01Z', '2024-01-02Z')")
            by_hand.execute("SELECT * FROM chandlery.run")
    heard = listen(login("reader"))
    with PostgreSQLStorage(login("writer"), notify=True) as writer:
        write(writer, candles(series_of("ETH-USDT"), 5))
    assert next(heard).symbol == "ETH-USDT"
    heard.close()  # type: ignore[attr-defined]
    shell.variables["CHANDLERY_DATABASE_URL"] = as_url(login("reader"))  # type: ignore[index]
    for command in (("show", "BTC-USDT"), ("status",), ("schema", "status")):
        done = shell.run(*command)
        assert done.code == 0, done.text
    refused = shell.run("collect", "BTC-USDT", "--since", "2024-02-29")
    assert (refused.code, "permission denied" in refused.err) == (3, True)


def test_a_backup_dumps_all_of_it(login: Login, database_url: str) -> None:
    filled(database_url)
    account, known = server_account(), conninfo_to_dict(login("backup"))
    without_secret = make_conninfo(**{name: known[name] for name in ("host", "dbname", "user")})
    pg_dump = str(programs(account) / "pg_dump")
    done = subprocess.run(
        [pg_dump, "--schema=chandlery", "--dbname", without_secret],
        env={"PATH": os.defpath, "PGPASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        cwd="/",
        **account.as_process(),
    )
    assert done.returncode == 0, done.stderr
    assert "COPY chandlery.candle_1m_2024_01 " in done.stdout
    assert "COPY chandlery.sealed " in done.stdout


def is_refused(connection: psycopg.Connection, statement: str) -> bool:
    try:
        connection.execute(statement)
    except errors.InsufficientPrivilege:
        return True
    return False


def test_a_backup_is_made_by_the_command_too(login: Login, shell: Shell, database_url: str) -> None:
    filled(database_url)
    shell.variables["CHANDLERY_DATABASE_URL"] = as_url(login("backup"))  # type: ignore[index]
    done = shell.run("backup", "create", "--folder", "backups")
    assert (done.code, "610 candles" in done.out) == (0, True), done.text


NOBODY = (
    "DROP TABLE chandlery.candle_1m_2024_01",
    "DROP TABLE chandlery.run",
    "DROP SCHEMA chandlery CASCADE",
    "ALTER TABLE chandlery.candle ADD COLUMN more integer",
    "ALTER TABLE chandlery.candle_1m DETACH PARTITION chandlery.candle_1m_2024_01",
    "TRUNCATE chandlery.candle_1m_2024_01",
    "TRUNCATE chandlery.candle_1m",
    "CREATE TABLE chandlery.mine (a integer)",
    "CREATE OR REPLACE FUNCTION chandlery.close_time(open_time timestamptz, timeframe text) RETURNS timestamptz"
    " LANGUAGE sql RETURN now()",
    "DELETE FROM chandlery.candle_1m",
    "DELETE FROM chandlery.coverage",
    "DELETE FROM chandlery.revision",
    "DELETE FROM chandlery.rejected",
    "DELETE FROM chandlery.run",
    "UPDATE chandlery.schema_version SET version_num = '9999'",
    "UPDATE chandlery.sealed SET data = ''",
    "INSERT INTO chandlery.sealed SELECT * FROM chandlery.sealed",
    "SELECT chandlery.drop_segment(1, '1m', '2024-01-01Z')",
    "CREATE ROLE another",
    "COPY chandlery.run TO PROGRAM 'cat'",
)
ONLY_WRITERS = (
    "INSERT INTO chandlery.candle_1m SELECT * FROM chandlery.candle_1m LIMIT 0",
    "UPDATE chandlery.candle SET close = close",
    "UPDATE chandlery.coverage SET spans = '{}'",
    "DELETE FROM chandlery.sealed",
    "INSERT INTO chandlery.run (command) VALUES ('mine')",
    "SELECT chandlery.make_partition('1m', '2030-01-01Z')",
)


@pytest.mark.parametrize("role", ["writer", "reader", "backup"])
def test_nobody_but_the_owner_may_change_or_remove_what_holds_the_data(
    login: Login, database_url: str, role: str
) -> None:
    filled(database_url)
    forbidden = NOBODY if role == "writer" else NOBODY + ONLY_WRITERS
    with psycopg.connect(login(role), autocommit=True) as connection:
        for statement in forbidden:
            assert is_refused(connection, statement), f"{role} may {statement}"


def test_a_member_of_the_owner_upgrades_and_what_is_new_belongs_to_the_role(
    login: Login, new_database: Callable[..., str], roles: Roles
) -> None:
    """And a writer may use it, for what the owner makes is granted as it is made."""
    url = new_database(empty=True)
    name = str(conninfo_to_dict(url)["dbname"])
    with closing(Database(url)) as database:
        upgrade_to(database, "0005")
        database.transact(lambda connection: connection.execute(roles_script(roles)))  # type: ignore[call-overload]
    refused = pytest.raises(DatabaseError, match="permission denied")
    with closing(Database(make_conninfo(login("writer"), dbname=name))) as database, refused:
        upgrade_to(database, "head")
    with closing(Database(make_conninfo(login("owner"), dbname=name))) as database:
        assert not apply_schema(database).pending
    with PostgreSQLStorage(make_conninfo(login("writer"), dbname=name)) as storage:
        assert write(storage, candles(series_of("BTC-USDT"), 600)) == SaveResult(inserted=600)
    with psycopg.connect(url) as admin:
        owners = (
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'chandlery'::regnamespace"
        )
        assert admin.execute(owners).fetchall() == [(roles.owner,)]
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_a_database_owner_who_is_no_superuser_makes_the_roles(database_url: str, login: Login, roles: Roles) -> None:
    """The schema's first owner may be an ordinary login that may make roles: it is enough."""
    mark = f"{roles.owner[:11]}"
    name, database_name = f"{mark}_dba", f"{mark}_db"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(sql.Identifier(name), PASSWORD))
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database_name), sql.Identifier(name))
        )
    theirs = Roles(**{role: f"{mark}_second_{role}" for role in MAY})
    try:
        url = make_conninfo(database_url, user=name, password=PASSWORD, dbname=database_name)
        with closing(Database(url)) as database:
            apply_schema(database)
            apply_roles(database, theirs)
            apply_roles(database, theirs)
            assert not schema_status(database).pending
    finally:
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database_name)))
            for role in (*(getattr(theirs, role) for role in MAY), name):
                admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("name", ["", 'x"; DROP', "pg_mine", "public", "a" * 64, "ä"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name"):
        Roles(owner=name)


def test_the_printed_script_does_the_same(shell: Shell, database_url: str) -> None:
    done = shell.run("schema", "roles", "--print", "--reader", "somebody")
    assert done.code == 0, done.text
    assert done.out.strip() == roles_script(Roles(reader="somebody")).strip()
    twice = shell.run("schema", "roles", "--print", "--reader", "chandlery_writer")
    assert (twice.code, "same name" in twice.err) == (2, True)
