"""Servers that are killed, restarted, frozen, filled up or closed for writing: the run goes on when they are well."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from candles import candles, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Spans
from chandlery.errors import DatabaseError
from chandlery.storage.coverage import lock_key
from chandlery.storage.database import DatabaseOptions
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from faults.proxy import Proxy
from faults.servers import PrivateServer
from faults.world import HASTY, PAGES, World, snapshot

RECOVERED_WITHIN_S = 5.0
"""From the moment at which the server accepts connections again to the first commit."""


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_costs_nothing(world: World, server: PrivateServer, mode: str) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        back = server.restart(mode)  # type: ignore[arg-type]
    assert run.seconds_to_the_first_page_after(back) < RECOVERED_WITHIN_S
    world.assert_complete()


def test_a_backend_killed_makes_the_server_recover_and_costs_nothing(world: World, server: PrivateServer) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        server.kill_a_backend()
    world.assert_complete()


def test_a_server_killed_in_the_middle_of_work_has_all_that_it_confirmed(world: World, server: PrivateServer) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        server.kill()
        confirmed = len(run.page_times)
        time.sleep(0.5)
        back = server.start()
        assert sum(len(stored) for _, stored, _ in snapshot(world.direct)) >= confirmed * 300
        world.assert_honest()
    assert run.seconds_to_the_first_page_after(back) < RECOVERED_WITHIN_S
    world.assert_complete()


def test_an_outage_of_ten_seconds_is_over_five_seconds_after_it_ends(world: World, server: PrivateServer) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        server.stop("fast")
        time.sleep(10.0)
        back = server.start()
    assert run.seconds_to_the_first_page_after(back) < RECOVERED_WITHIN_S
    assert time.monotonic() - back < 20.0
    world.assert_complete()


def test_a_server_that_hangs_is_given_up_after_the_deadline_and_used_again_when_it_wakes(
    world: World, server: PrivateServer
) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        with server.frozen():
            time.sleep(world.options.client_deadline_s + 2.0)
        back = time.monotonic()
    assert any("did not answer" in str(setback.error) for setback in run.setbacks)
    assert run.seconds_to_the_first_page_after(back) < RECOVERED_WITHIN_S
    world.assert_complete()


def test_a_short_freeze_goes_unnoticed(world: World, server: PrivateServer) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        with server.frozen():
            time.sleep(1.0)
    assert not run.setbacks
    world.assert_complete()


def test_a_server_without_free_connections_is_waited_for(world: World) -> None:
    """max_connections is reached by others just when ours break."""
    with PrivateServer(max_connections="8", shared_buffers="16MB") as server, Proxy(server.socket_folder) as proxy:
        server.make_schema()
        small = replace(world, direct=server.direct, conninfo=server.through(proxy.port))
        with small.collecting() as run:
            run.wait_for_pages(2)
            proxy.refuse()
            others = occupied(server, until=time.monotonic() + 1.0)
            proxy.recover()
            run.wait_for_setback("clients|slots")
            for other in others:
                other.close()
            back = time.monotonic()
        assert run.seconds_to_the_first_page_after(back) < RECOVERED_WITHIN_S
        small.assert_complete()


def occupied(server: PrivateServer, until: float) -> list[psycopg.Connection]:
    """Take every connection that the server gives or that somebody gives back."""
    taken = []
    while time.monotonic() < until:
        try:
            taken.append(psycopg.connect(server.direct, application_name="other"))
        except psycopg.OperationalError:
            time.sleep(0.02)
    return taken


def test_a_server_that_takes_no_writes_is_waited_for(world: World, server: PrivateServer) -> None:
    """As after a failover: the sessions that began meanwhile stay read-only, so new ones are needed afterwards."""
    database = world.database_name
    with world.collecting() as run:
        run.wait_for_pages(3)
        server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        server.terminate_backends()
        run.wait_for_setback("read-only")
        server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = off")
        back = time.monotonic()
    assert run.seconds_to_the_first_page_after(back) < RECOVERED_WITHIN_S
    world.assert_complete()


def test_a_locked_table_is_waited_for(world: World) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        with psycopg.connect(world.direct) as other:
            other.execute("LOCK TABLE chandlery.coverage IN ACCESS EXCLUSIVE MODE")
            run.wait_for_setback("lock timeout")
            time.sleep(1.0)
    assert {setback.error.sqlstate for setback in run.setbacks} == {"55P03"}
    world.assert_complete()


def test_a_slow_statement_is_ended_by_the_server_and_tried_again(world: World) -> None:
    world.options = replace(HASTY, statement_timeout_s=0.5, lock_timeout_s=5.0)
    with world.collecting() as run:
        run.wait_for_pages(3)
        with psycopg.connect(world.direct) as other:
            other.execute("LOCK TABLE chandlery.coverage IN ACCESS EXCLUSIVE MODE")
            run.wait_for_setback("statement timeout")
    world.assert_complete()


def test_a_deadlock_with_somebody_from_outside_is_tried_again(world: World) -> None:
    """He locks what we need last and then wants what we locked first; the server chooses its victim."""
    with PostgreSQLStorage(world.direct, replace(HASTY, lock_timeout_s=20.0)) as storage:
        batch = candles(series(), 300)
        storage.writer.write([Delivery(batch=batch.take(slice(0, 10)), covered=Spans())])
        setbacks = []
        storage.database.persistence.on_setback = setbacks.append
        for _ in range(10):
            deadlock(storage, batch)
            if setbacks:
                break
        assert {setback.error.sqlstate for setback in setbacks} == {"40P01"}
        assert storage.ledger.covered(batch.series) == batch.runs()
        (count,) = storage.database.transact(lambda c: c.execute("SELECT count(*) FROM chandlery.candle").fetchone())
        assert count == 300


def deadlock(storage: PostgreSQLStorage, batch: CandleBatch) -> None:
    key = lock_key(1, storage.catalog.ensure("okx", "BTC-USDT"), batch.series)
    writer = threading.Thread(target=storage.writer.write, args=([Delivery(batch=batch, covered=batch.runs())],))
    with psycopg.connect(storage.database.conninfo) as other:
        other.execute("SET deadlock_timeout = '10s'")  # so that ours looks first, and is the victim
        other.execute("LOCK TABLE chandlery.coverage IN ACCESS EXCLUSIVE MODE")
        writer.start()
        time.sleep(0.05)
        try:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [key])
        except psycopg.errors.DeadlockDetected:
            other.rollback()
    writer.join()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 24 MB, where the tests may make one."""
    folder = Path("/var/tmp") / f"chandlery-small-{time.monotonic_ns()}"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"only root may mount the small disk that is filled here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_is_waited_for(world: World, server: PrivateServer, small_disk: Path) -> None:
    """The candles lie in a tablespace that is full; somebody makes room, and the run goes on."""
    place = small_disk / "tables"
    place.mkdir()
    shutil.chown(place, "chandlery", "chandlery")
    ballast = small_disk / "ballast"
    server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
    try:
        with world.collecting() as run:
            run.wait_for_pages(2)
            with psycopg.connect(world.direct, autocommit=True) as other:
                other.execute("ALTER TABLE chandlery.candle_1m_2024_01 SET TABLESPACE small")
                other.execute("ALTER INDEX chandlery.candle_1m_2024_01_pkey SET TABLESPACE small")
            fill(ballast)
            run.wait_for_setback("No space left", within_s=20)
            world.assert_honest()
            ballast.unlink()
            back = time.monotonic()
        assert run.seconds_to_the_first_page_after(back) < RECOVERED_WITHIN_S
        world.assert_complete()
    finally:
        ballast.unlink(missing_ok=True)
        with psycopg.connect(world.direct, autocommit=True) as other:
            other.execute("ALTER TABLE chandlery.candle_1m_2024_01 SET TABLESPACE pg_default")
            other.execute("ALTER INDEX chandlery.candle_1m_2024_01_pkey SET TABLESPACE pg_default")
        server.execute("DROP TABLESPACE small")


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        try:
            while True:
                opened.write(bytes(1 << 16))
        except OSError:
            return


STRIKES: dict[str, Callable[[PrivateServer], object]] = {
    "away": lambda server: server.stop("immediate"),
    "killed": PrivateServer.kill,
}


@pytest.mark.parametrize("strike", STRIKES)
def test_a_programs_own_patience_ends_with_a_sentence(world: World, server: PrivateServer, strike: str) -> None:
    """Whoever is not a collector waits ``patience_s`` and is told; the storage works again afterwards."""
    batch = candles(series(), 100)
    delivery = Delivery(batch=batch, covered=batch.runs())
    with PostgreSQLStorage(world.direct, DatabaseOptions(patience_s=2.0)) as storage:
        storage.writer.write([Delivery(batch=batch.take(slice(0, 1)), covered=Spans())])
        STRIKES[strike](server)
        began = time.monotonic()
        with pytest.raises(DatabaseError, match="PostgreSQL"):
            storage.writer.write([delivery])
        assert 1.0 < time.monotonic() - began < 8.0
        server.start()
        assert storage.writer.write([delivery]).stored == 100


def test_a_lost_claim_is_taken_again_and_only_what_is_missing_fetched(world: World, server: PrivateServer) -> None:
    """Another collector takes the series while ours is cut off; twice fetched is what was under way, and no more."""
    world.pace = replace(world.pace, pages_per_s=10)
    with world.collecting() as run:
        run.wait_for_pages(2)
        server.terminate_backends()
        with world.collecting() as other:
            pass
    assert all(report.complete for report in (*run.reports, *other.reports))
    world.assert_complete()
    assert len([r for r in world.exchange.journal.requests if "candles" in r.endpoint]) <= PAGES + 7


def test_an_embedded_server_that_was_killed_is_given_up_without_a_word_and_starts_again() -> None:
    with PrivateServer(shared_buffers="16MB") as server:
        server.make_schema()
        server.kill()
        server.give_up()
        with EmbeddedServer(server.folder / "server", options={"shared_buffers": "16MB"}):
            assert server.execute("SELECT count(*) FROM chandlery.candle", database="chandlery") == [(0,)]
