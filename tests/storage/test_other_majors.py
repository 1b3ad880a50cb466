"""The schema and all ways in and out work on every PostgreSQL that this machine has, and data moves to a newer one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from candles import START, candles, changed, series
from chandlery.domain.candle import CandleBatch, same_values
from chandlery.domain.span import Span
from chandlery.services.seal import Sealer
from chandlery.storage.delivery import Delivery, SaveResult
from chandlery.storage.embedded_account import MAJOR, programs, server_account
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.roles import Roles, apply_roles
from other_servers import PASSWORD, builds, running

MONTH = candles(series(), 31 * 1440)
LATER = candles(series(), 100, start=START + 40 * 86_400_000)
EVER = Span(0, 4_102_444_800_000)
BUILDS = builds()


def write(storage: PostgreSQLStorage, *batches: CandleBatch) -> SaveResult:
    return storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])


@pytest.fixture(scope="module", params=sorted(BUILDS) or [None], ids=str)
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of another major with a schema, a sealed month and some candles."""
    if request.param is None:
        pytest.skip("this machine has no PostgreSQL but ours; on Debian: apt-get install postgresql")
    with running(BUILDS[request.param]) as conninfo, closing(PostgreSQLStorage(conninfo)) as storage:
        storage.require_schema()
        assert write(storage, MONTH, LATER) == SaveResult(inserted=len(MONTH) + len(LATER))
        [entry] = storage.ledger.entries()
        assert Sealer(storage).seal(entry, before=START + 35 * 86_400_000).spans == 1
        yield conninfo


def test_every_way_in_and_out_works(other: str) -> None:
    """Rows and segments, functions in SQL, a revision in a sealed month, the roles, and the health check."""
    with PostgreSQLStorage(other) as storage:
        assert storage.health_check()
        assert write(storage, changed(MONTH, slice(0, 1))) == SaveResult(unchanged=len(MONTH) - 1, revised=1)
        assert write(storage, MONTH) == SaveResult(unchanged=len(MONTH) - 1, revised=1)
        assert len(storage.get_ohlcv_data("BTC-USDT", "1m")) == len(MONTH) + len(LATER)
        assert len(storage.get_latest_candles(interval="1m")) == 1
        apply_roles(storage.database, Roles())
        apply_roles(storage.database, Roles())
    with psycopg.connect(other) as connection:
        aligned = "SELECT count(*) FROM chandlery.aligned('BTC-USDT', '1m', '1h', '2024-01-01Z', '2024-01-02Z')"
        assert connection.execute(aligned).fetchone() == (1440,)


def test_all_of_it_moves_to_the_server_that_we_bring(other: str, new_database, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """What docs/upgrade.md does: the newer pg_dump reads the older server, and its psql or pg_restore writes ours."""
    account, target = server_account(), new_database(empty=True)
    folder = programs(account)
    reading = conninfo_to_dict(other)
    dumped = _run(
        folder / "pg_dump",
        *("--schema=chandlery", "--no-owner", "--no-privileges"),
        make_conninfo(**{k: reading[k] for k in ("host", "dbname", "user")}),
        password=PASSWORD,
    )
    known = {name: str(value) for name, value in conninfo_to_dict(target).items()}
    secret = Path(known.pop("passfile")).read_text().strip().rpartition(":")[2]
    _run(folder / "psql", "-q", "-v", "ON_ERROR_STOP=1", make_conninfo(**known), password=secret, given=dumped)
    with PostgreSQLStorage(target) as storage:
        storage.require_schema()
        moved = storage.reader.candles(series(), EVER)
        expected = CandleBatch.joined(series(), [MONTH, LATER])
        assert np.array_equal(moved.open_time, expected.open_time)
        assert same_values(moved, expected).all()
        [entry] = storage.ledger.entries()
        assert entry.spans == expected.runs()
        assert write(storage, MONTH, LATER) == SaveResult(unchanged=len(expected))


def _run(program: Path, *arguments: str, password: str, given: str | None = None) -> str:
    done = subprocess.run(
        [str(program), *arguments],
        input=given,
        env={"PATH": os.defpath, "PGPASSWORD": password},
        capture_output=True,
        text=True,
        cwd="/",
        **server_account().as_process(),
    )
    assert done.returncode == 0, f"{program.name} of PostgreSQL {MAJOR}: {done.stderr}"
    return done.stdout
