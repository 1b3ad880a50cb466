"""Outages by the clock: how soon after the server's return the first page is stored."""

from __future__ import annotations

import random
import time

from psycopg.conninfo import make_conninfo

from chandlery.domain.timeframe import DAY_MS, HOUR_MS
from chandlery.simulator import FixedClock, SeededMarket, Simulator
from drill.exercise import database, world_of
from faults.proxy import Proxy
from faults.servers import PrivateServer
from faults.world import START, Pace

SYMBOLS = ("BTC-USDT",)


def outage(seconds: float, server: PrivateServer) -> str:
    """The server is down for ``seconds`` in the middle of a collection; a sentence with the measured return."""
    with (
        Simulator(SeededMarket(1, SYMBOLS), clock=FixedClock(START + DAY_MS)).run_in_thread() as exchange,
        database(server) as name,
    ):
        world = world_of(exchange, server, name)
        world.symbols, world.pace = SYMBOLS, Pace(pages_per_s=10, page_size=60)
        with world.collecting() as run:
            run.wait_for_pages(4)
            server.stop("fast")
            time.sleep(seconds)
            back = server.start()
        world.assert_complete()
        return (
            f"outage of {seconds:g} s: first commit {run.seconds_to_the_first_page_after(back):.1f} s after the server "
            f"accepted connections again, {len(run.setbacks)} setbacks; complete, nothing twice"
        )


def a_day(server: PrivateServer) -> str:
    """24 simulated hours, an outage of the database in each while it is collected."""
    rng, clock = random.Random(24), FixedClock(START + HOUR_MS)
    with (
        Simulator(SeededMarket(1, SYMBOLS), clock=clock).run_in_thread() as exchange,
        database(server) as name,
        Proxy(server.socket_folder) as proxy,
    ):
        world = world_of(exchange, server, name)
        world.symbols, world.pace = SYMBOLS, Pace(page_size=10)
        world.conninfo = make_conninfo(world.direct, host="127.0.0.1", port=proxy.port)
        for _ in range(24):
            with world.collecting() as run:
                run.wait_for_pages(rng.randint(1, 3))
                proxy.refuse()
                time.sleep(rng.uniform(0.1, 1.0))
                proxy.recover()
            world.assert_complete()
            clock.advance(HOUR_MS)
    return "24 hours with an outage of the database in each: complete after every one, nothing twice"
