"""Connections that break, wherever in the conversation: each candle is stored once, and the run goes on by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from chandlery.domain.span import Span
from chandlery.errors import ConnectionError
from chandlery.storage.database import Database, DatabaseOptions
from chandlery.storage.postgres import PostgreSQLStorage
from faults.proxy import Moment, Proxy
from faults.servers import PrivateServer
from faults.world import World, small_exchange

EVERY_MOMENT = [(moment, skip) for moment in Moment for skip in (0, 3, 8)]


@pytest.mark.parametrize(("moment", "skip"), EVERY_MOMENT, ids=str)
def test_a_connection_cut_at_any_moment_costs_nothing(world: World, proxy: Proxy, moment: Moment, skip: int) -> None:
    proxy.cut_at(moment, skip=skip)
    (report,) = world.collect()
    assert proxy.armed == 0, "the moment came"
    assert report.complete
    world.assert_complete()


def test_cuts_at_every_moment_again_and_again(world: World, proxy: Proxy) -> None:
    for moment, skip in EVERY_MOMENT:
        proxy.cut_at(moment, skip=skip)
    (report,) = world.collect()
    assert report.complete
    world.assert_complete()


def test_a_lost_reply_to_commit_leaves_each_candle_once_and_counts_them_as_there(world: World, proxy: Proxy) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        proxy.cut_at(Moment.AFTER_COMMIT)
    (report,) = run.reports
    assert report.result.unchanged == 300, "the second writing found what the first had committed"
    assert report.result.stored == 12 * 300
    world.assert_complete()


@pytest.mark.parametrize("count", [1, 7, 100, 5_000])
def test_an_answer_cut_short_costs_nothing(world: World, proxy: Proxy, count: int) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        proxy.answer_only(count)
    world.assert_complete()


def test_all_connections_cut_at_once(world: World, proxy: Proxy) -> None:
    with world.collecting() as run:
        for pages in (1, 4, 8):
            run.wait_for_pages(pages)
            proxy.cut()
    world.assert_complete()


def test_backends_terminated_by_an_administrator(world: World, server: PrivateServer) -> None:
    with world.collecting() as run:
        for pages in (1, 4, 8):
            run.wait_for_pages(pages)
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chandlery'"
            )
    world.assert_complete()


def test_a_slow_line_is_only_slow(world: World, proxy: Proxy) -> None:
    proxy.delay_s = 0.005
    (report,) = world.collect()
    assert report.complete
    world.assert_complete()


def test_a_black_hole_is_noticed_by_the_clients_own_deadline(world: World, proxy: Proxy) -> None:
    """Nothing is closed and nothing answered; TCP acknowledges everything, so no keepalive can tell."""
    with world.collecting() as run:
        run.wait_for_pages(3)
        proxy.silence()
        before = len(run.page_times)
        time.sleep(1.0)
        asked = len(world.exchange.journal.requests)
        time.sleep(world.options.client_deadline_s + 1.0)
        assert len(world.exchange.journal.requests) == asked, "what cannot be stored is not fetched"
        assert len(run.page_times) <= before + 1
        proxy.recover()
        back = time.monotonic()
    assert run.seconds_to_the_first_page_after(back) < 5.0
    world.assert_complete()


def test_while_it_is_away_it_is_asked_once_a_second_at_most_and_nothing_is_fetched(world: World, proxy: Proxy) -> None:
    with world.collecting() as run:
        run.wait_for_pages(3)
        proxy.refuse()
        time.sleep(1.0)
        proxy.attempts.clear()
        asked = len(world.exchange.journal.requests)
        time.sleep(4.0)
        attempts = list(proxy.attempts)
        assert len(world.exchange.journal.requests) == asked
        proxy.recover()
        back = time.monotonic()
    assert 1 <= len(attempts) <= 4
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(attempts))
    assert run.seconds_to_the_first_page_after(back) < 5.0
    world.assert_complete()


def test_many_threads_together_ask_once_a_second_at_most(server: PrivateServer, proxy: Proxy) -> None:
    database = Database(server.through(proxy.port), DatabaseOptions(patience_s=60.0))
    threads = [threading.Thread(target=_ask_for, args=(database, 3.0)) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    proxy.refuse()
    proxy.attempts.clear()
    time.sleep(3.0)
    attempts = list(proxy.attempts)
    proxy.recover()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    database.close()
    assert all(later - earlier >= 0.99 for earlier, later in pairwise(attempts))


def _ask_for(database: Database, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        database.transact(lambda connection: connection.execute("SELECT pg_sleep(0.01)"))


@pytest.mark.parametrize("after_s", [0.2, 1.5, 4.0])
@pytest.mark.parametrize("strike", [Proxy.refuse, Proxy.silence], ids=["away", "silent"])
def test_a_stopped_collector_does_not_wait_for_the_database(
    world: World, proxy: Proxy, strike: Callable[[Proxy], None], after_s: float
) -> None:
    """Several series, so that several threads wait for it: for an answer, for a connection, or for their turn."""
    symbols = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "BTC-USDT-SWAP")
    with small_exchange(symbols=symbols).run_in_thread() as exchange:
        world = replace(world, exchange=exchange, symbols=symbols)
        with world.collecting() as run:
            run.wait_for_pages(6)
            strike(proxy)
            time.sleep(after_s)
            stopped = time.monotonic()
            run.stop()
            run.join(2.0)
            assert not run.is_alive()
        assert time.monotonic() - stopped < 2.0
        proxy.recover()
        world.assert_honest()
        assert run.storage.database.persistence.given_up.is_set() is False, "the storage is of use afterwards"
        world.collect()
        world.assert_complete()


def test_reading_survives_a_cut_and_a_restart(world: World, proxy: Proxy, server: PrivateServer) -> None:
    (series,) = world.series
    with world.collecting() as run:
        run.join()
        for strike in (proxy.cut, lambda: server.restart("fast")):
            assert len(run.storage.reader.candles(series, Span(0, 2**42))) == 12 * 300
            strike()
        assert len(run.storage.reader.candles(series, Span(0, 2**42))) == 12 * 300


def test_reading_from_a_silent_server_ends_at_the_deadline_and_goes_on_when_it_speaks(
    world: World, proxy: Proxy
) -> None:
    (series,) = world.series
    world.collect()
    with PostgreSQLStorage(world.conninfo, replace(world.options, client_deadline_s=1.0, patience_s=1.0)) as storage:
        assert len(storage.reader.candles(series, Span(0, 2**42))) == 12 * 300
        proxy.silence()
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="did not answer"):
            storage.reader.candles(series, Span(0, 2**42))
        assert time.monotonic() - began < 6.0
        proxy.recover()
        assert len(storage.reader.candles(series, Span(0, 2**42))) == 12 * 300


def test_of_several_hosts_the_one_that_takes_writes_is_found(server: PrivateServer) -> None:
    with Proxy(server.socket_folder) as first, Proxy(server.socket_folder) as second:
        first.refuse()
        conninfo = server.through(first.port).replace("127.0.0.1", "127.0.0.1,127.0.0.1")
        conninfo = conninfo.replace(f"port={first.port}", f"port={first.port},{second.port}")
        database = Database(conninfo, DatabaseOptions(patience_s=20.0))
        database.transact(lambda connection: connection.execute("SELECT 1"))
        first.recover()
        second.refuse()
        database.transact(lambda connection: connection.execute("SELECT 1"))
        database.close()


def test_what_is_wrong_with_the_settings_is_said_at_once(server: PrivateServer, proxy: Proxy) -> None:
    base = server.through(proxy.port)
    wrong = {
        "password authentication failed for user": base + " password=wrong",
        'database "nowhere" does not exist': base.replace("dbname=chandlery", "dbname=nowhere"),
        "for user": base.replace("user=chandlery", "user=nobody") + " password=x",
        "Connection refused": base.replace(f"port={proxy.port}", "port=1"),
    }
    for said, conninfo in wrong.items():
        database = Database(conninfo, DatabaseOptions(patience_s=60.0))
        began = time.monotonic()
        with pytest.raises(ConnectionError, match=said):
            database.transact(lambda connection: connection.execute("SELECT 1"))
        assert time.monotonic() - began < 2.0
        database.close()


def test_a_password_that_is_changed_meanwhile_is_said_and_not_retried_for_ever(
    server: PrivateServer, proxy: Proxy
) -> None:
    server.execute("CREATE ROLE clerk LOGIN PASSWORD 'first'")
    try:
        conninfo = server.through(proxy.port).replace("user=chandlery", "user=clerk") + " password=first"
        database = Database(conninfo, DatabaseOptions(patience_s=60.0))
        database.transact(lambda connection: connection.execute("SELECT 1"))
        server.execute("ALTER ROLE clerk PASSWORD 'second'")
        proxy.cut()
        with pytest.raises(ConnectionError, match="password authentication failed"):
            database.transact(lambda connection: connection.execute("SELECT 1"))
        database.close()
    finally:
        server.execute("DROP ROLE clerk")
