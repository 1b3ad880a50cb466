"""One drill: a collector works for some rounds while faults strike database and exchange, all drawn from one seed.

After every round, and several times within it, the ledger may not claim a candle that is not stored. At the end,
nothing is lost, nothing is there twice, and the ledger covers all of it.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import psycopg
from psycopg.conninfo import make_conninfo

from chandlery.domain.timeframe import HOUR_MS, TIMEFRAMES
from chandlery.errors import ExchangeError
from chandlery.simulator import OBVIOUS_FAULTS, FaultPlan, FixedClock, SeededMarket, Simulator
from chandlery.storage.database import DatabaseOptions
from drill.strikes import Field, drawn
from faults.proxy import Proxy
from faults.servers import PrivateServer
from faults.world import START, Pace, Running, World, snapshot

SYMBOLS = ("BTC-USDT", "ETH-USDT-SWAP")
TIMEFRAMES_DRILLED = (TIMEFRAMES["1m"], TIMEFRAMES["15m"])
HURRIED = DatabaseOptions(
    connect_timeout_s=2,
    statement_timeout_s=0.8,
    lock_timeout_s=0.3,
    client_deadline_s=1.0,
    patience_s=math.inf,
)
_PAGE_SIZE = 60
_LOOK_EVERY_S = 0.25


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How a drill went. ``looks`` is how often the ledger was compared with the data while faults struck."""

    seed: int
    strikes: Counter[str] = field(default_factory=Counter)
    exchange_faults: int = 0
    setbacks: int = 0
    looks: int = 0
    candles: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        struck = ", ".join(f"{name} {count}x" if count > 1 else name for name, count in self.strikes.items())
        return (
            f"seed {self.seed}: {self.candles:,} candles, 0 lost, 0 doubled, ledger never ahead in {self.looks} looks; "
            f"{self.exchange_faults} bad answers, {self.setbacks} setbacks, {self.seconds:.1f} s; struck: {struck}"
        )


def drill(seed: int, server: PrivateServer, *, rounds: int = 3) -> Outcome:
    """Run one drill on a server that may be broken by it; raises AssertionError if anything is not as it should be."""
    outcome, rng, began = Outcome(seed=seed), random.Random(seed), time.monotonic()
    clock = FixedClock(START + 10_000)
    plan = FaultPlan(seed, rng.uniform(0.0, 0.06), OBVIOUS_FAULTS)
    market = SeededMarket(seed, SYMBOLS)
    with Simulator(market, clock=clock, fault_plan=plan).run_in_thread() as exchange, database(server) as name:
        for _ in range(rounds):
            clock.advance(rng.randint(2, 10) * HOUR_MS)
            _round(world_of(exchange, server, name), server, rng, outcome)
        # the exchange goes on failing, the database does not: a few more runs have to be enough
        _finish(world_of(exchange, server, name), outcome)
        outcome.exchange_faults = sum(1 for request in exchange.journal.requests if request.fault)
    outcome.seconds = time.monotonic() - began
    return outcome


def world_of(exchange: Simulator, server: PrivateServer, name: str) -> World:
    direct = make_conninfo(server.direct, dbname=name)
    return World(
        exchange=exchange,
        direct=direct,
        conninfo=direct,
        symbols=SYMBOLS,
        timeframes=TIMEFRAMES_DRILLED,
        options=HURRIED,
        pace=Pace(timeout_s=1.0, page_size=_PAGE_SIZE),
    )


@contextlib.contextmanager
def database(server: PrivateServer) -> Iterator[str]:
    name = f"drill_{uuid.uuid4().hex[:12]}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE chandlery")
    yield name
    server.ensure_running()
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _round(world: World, server: PrivateServer, rng: random.Random, outcome: Outcome) -> None:
    """A collector at work, and strikes at random moments of it until it is done."""
    with Proxy(server.socket_folder) as proxy:
        struck = replace(world, conninfo=make_conninfo(world.direct, host="127.0.0.1", port=proxy.port))
        # so many bad answers in a row that it gives up end a run; the next round goes on from there
        with contextlib.suppress(ExchangeError), _watched(world, outcome), struck.collecting() as run:
            here = Field(world=world, server=server, proxy=proxy, run=run, rng=rng)
            for strike in drawn(rng, rng.randint(2, 6)):
                _wait_for_progress(run, rng)
                if not run.is_alive():
                    break
                with contextlib.suppress(psycopg.OperationalError):  # the one before has not been got over yet
                    outcome.strikes[strike(here)] += 1
            proxy.recover()
            outcome.setbacks += len(run.setbacks)
    world.assert_honest()


def _wait_for_progress(run: Running, rng: random.Random) -> None:
    """Until a few more pages are stored, or for a moment if none come."""
    wanted = len(run.page_times) + rng.randint(1, 8)
    give_up = time.monotonic() + 1.0
    while len(run.page_times) < wanted and run.is_alive() and time.monotonic() < give_up:
        time.sleep(0.005)


@contextlib.contextmanager
def _watched(world: World, outcome: Outcome) -> Iterator[None]:
    """Compare the ledger with the data again and again while the block runs, past the proxy."""
    over, wrong = threading.Event(), list[AssertionError]()

    def look() -> None:
        while not over.wait(_LOOK_EVERY_S):
            try:
                world.assert_honest()
                outcome.looks += 1
            except AssertionError as error:
                wrong.append(error)
            except psycopg.Error:
                pass  # the server is down: nothing to see

    watcher = threading.Thread(target=look, name="watcher")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    if wrong:
        raise wrong[0]


def _finish(world: World, outcome: Outcome) -> None:
    for _ in range(8):
        with contextlib.suppress(ExchangeError):
            if all(report.complete for report in world.collect()):
                break
    world.assert_complete()
    outcome.candles = sum(len(stored) for _, stored, _ in snapshot(world.direct))


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)  # noqa: T201
