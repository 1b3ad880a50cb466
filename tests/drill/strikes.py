"""What can strike during a drill, at the database and at the exchange; each strike ends by itself and says its name."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from chandlery.simulator import OBVIOUS_FAULTS
from faults.proxy import Moment, Proxy
from faults.servers import PrivateServer
from faults.world import Running, World

_SHORT_S, _LONG_S = 0.2, 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What strikes may reach."""

    world: World
    server: PrivateServer
    proxy: Proxy
    run: Running
    rng: random.Random

    def while_it_lasts(self) -> None:
        """Let a state of things last for a while."""
        time.sleep(self.rng.uniform(_SHORT_S, _LONG_S))


def cut_at_a_moment(field: Field) -> str:
    moment, skip = field.rng.choice(list(Moment)), field.rng.randrange(6)
    field.proxy.cut_at(moment, skip=skip)
    return f"cut {moment}"


def cut_everything(field: Field) -> str:
    field.proxy.cut()
    return "all connections cut"


def refuse(field: Field) -> str:
    field.proxy.refuse()
    field.while_it_lasts()
    field.proxy.recover()
    return "connections refused"


def black_hole(field: Field) -> str:
    field.proxy.silence()
    field.while_it_lasts()
    field.proxy.recover()
    return "black hole"


def slow_line(field: Field) -> str:
    field.proxy.delay_s = field.rng.uniform(0.001, 0.02)
    field.while_it_lasts()
    field.proxy.recover()
    return "slow line"


def short_answer(field: Field) -> str:
    field.proxy.answer_only(field.rng.randrange(1, 4_000))
    return "answer cut short"


def terminate(field: Field) -> str:
    field.server.terminate_backends()
    return "backends terminated"


def read_only(field: Field) -> str:
    name = field.world.database_name
    field.server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    field.server.terminate_backends()
    field.while_it_lasts()
    field.server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    return "read-only"


def locked(field: Field) -> str:
    with psycopg.connect(field.world.direct) as other:
        other.execute("LOCK TABLE chandlery.coverage IN ACCESS EXCLUSIVE MODE")
        field.while_it_lasts()
    return "table locked"


def freeze(field: Field) -> str:
    with field.server.frozen():
        field.while_it_lasts()
    return "server frozen"


def restart(field: Field) -> str:
    mode = field.rng.choice(("fast", "immediate"))
    field.server.restart(mode)  # type: ignore[arg-type]
    return f"restart {mode}"


def kill_backend(field: Field) -> str:
    field.server.kill_a_backend()
    return "backend kill -9"


def kill_server(field: Field) -> str:
    field.server.kill()
    field.while_it_lasts()
    field.server.start()
    return "server kill -9"


def exchange_away(field: Field) -> str:
    field.world.exchange.outage(field.rng.uniform(_SHORT_S, _LONG_S))
    return "exchange away"


def exchange_faults(field: Field) -> str:
    kind = field.rng.choice(sorted(OBVIOUS_FAULTS))
    field.world.exchange.arm(kind, count=field.rng.randint(1, 4), duration_s=field.rng.uniform(_SHORT_S, _LONG_S))
    return f"exchange {kind}"


def stop(field: Field) -> str:
    field.run.stop()
    return "collector stopped"


Strike = Callable[[Field], str]

WEIGHTS: dict[Strike, int] = {
    cut_at_a_moment: 30,
    exchange_faults: 20,
    cut_everything: 6,
    short_answer: 6,
    terminate: 6,
    exchange_away: 6,
    refuse: 4,
    black_hole: 4,
    slow_line: 3,
    read_only: 3,
    locked: 3,
    freeze: 3,
    stop: 3,
    restart: 2,
    kill_backend: 2,
    kill_server: 1,
}
"""How often each strikes; those that stop the whole server are rare because they cost seconds."""


def drawn(rng: random.Random, count: int) -> list[Strike]:
    """Strikes at random, by their weights."""
    return rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=count)
