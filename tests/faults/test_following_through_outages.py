"""A collection that follows outlives its database: it waits, says so once, and goes on by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from faults.proxy import Proxy
from faults.world import SYMBOL, World
from processes import PATIENCE_S, Shell, as_url


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_a_database_that_is_away_is_waited_for_and_told_of_once(world: World, proxy: Proxy, tmp_path: Path) -> None:
    variables = {
        "CHANDLERY_DATABASE_URL": as_url(world.conninfo),
        "CHANDLERY_DATA_COLLECTION_BASE_URL": world.exchange.base_url,
    }
    shell = Shell(folder=tmp_path, variables=variables)

    def rounds() -> int:
        return sum(1 for request in world.exchange.journal.requests if request.endpoint.endswith("/time"))

    following = shell.start("collect", SYMBOL, "--since", "2024-01-01", "--follow", "1s")
    wait_until(lambda: rounds() > 5)
    proxy.refuse()
    attempts = len(proxy.attempts)
    wait_until(lambda: len(proxy.attempts) > attempts + 4)
    proxy.recover()
    done = rounds()
    wait_until(lambda: rounds() > done + 2)
    stopped = following.interrupt(signal.SIGTERM, within_s=5.0)
    assert stopped.code == 0, stopped.text
    assert stopped.err.count("It works again.") == 1, stopped.err
    told = [line for line in stopped.err.splitlines() if "trying again" in line]
    assert 1 <= len(told) <= 3, stopped.err
    world.assert_complete()
