"""Slots of a pace that many programs share: each is given once, evenly spaced, and nobody waits for what cannot be."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from chandlery.storage.database import Database
from chandlery.storage.pace import PaceLine, SharedPace
from chandlery.storage.postgres import PostgreSQLStorage

HISTORY = PaceLine(host="exchange", address="here", endpoint="/history")
INTERVAL_S = 10.0
"""So long that the test itself takes no time beside it."""


def test_each_slot_is_given_once(storage: PostgreSQLStorage, database_url: str) -> None:
    """Four programs take one to three slots at a time; together they have every slot from the first on."""
    began = time.monotonic()

    def program(number: int) -> list[int]:
        with PostgreSQLStorage(database_url) as of_its_own:
            taken = []
            for turn in range(10):
                count = (number + turn) % 3 + 1
                wait_s = of_its_own.pace.take(HISTORY, INTERVAL_S / 10, count)
                assert wait_s is not None
                first = (time.monotonic() - began + wait_s) / (INTERVAL_S / 10)
                taken += [round(first) + n for n in range(count)]
            return taken

    # the first slot is the one of whoever comes first; 80 slots take 80 s, of which nothing is over when all are taken
    storage.pace.take(HISTORY, INTERVAL_S, 1)
    with ThreadPoolExecutor(4) as threads:
        taken = sorted(slot for slots in threads.map(program, range(4)) for slot in slots)
    assert len(taken) == len(set(taken))
    assert taken == list(range(taken[0], taken[0] + len(taken)))


def test_what_nobody_took_is_not_handed_out_later(storage: PostgreSQLStorage) -> None:
    assert storage.pace.take(HISTORY, 0.0001, 8) == 0.0
    time.sleep(0.01)  # eight slots are over after 0.8 ms, within which a fast server may answer again
    wait_s = storage.pace.take(HISTORY, INTERVAL_S, 1)
    assert wait_s == 0.0
    wait_s = storage.pace.take(HISTORY, INTERVAL_S, 1)
    assert wait_s is not None
    assert INTERVAL_S - 5 < wait_s <= INTERVAL_S


@pytest.mark.parametrize("change", [{"host": "other"}, {"address": "other"}, {"endpoint": "/other"}])
def test_endpoints_addresses_and_exchanges_have_each_a_pace_of_their_own(
    storage: PostgreSQLStorage, change: dict[str, str]
) -> None:
    storage.pace.take(HISTORY, INTERVAL_S, 8)
    assert storage.pace.take(replace(HISTORY, **change), INTERVAL_S, 1) == 0.0


def test_a_clock_that_was_set_back_stops_nobody(storage: PostgreSQLStorage) -> None:
    storage.pace.take(HISTORY, INTERVAL_S, 1)
    ahead = "UPDATE chandlery.pace SET taken_until = now() + interval '1 hour'"
    storage.database.transact(lambda connection: connection.execute(ahead))
    assert storage.pace.take(HISTORY, INTERVAL_S, 1) == 0.0


def test_whoever_cannot_reach_the_database_keeps_his_own_pace_and_asks_no_more_for_a_while() -> None:
    pace = SharedPace(Database("postgresql://nobody@127.0.0.1:9/nothing"))
    assert pace.take(HISTORY, INTERVAL_S, 1) is None
    began = time.monotonic()
    assert [pace.take(HISTORY, INTERVAL_S, 1) for _ in range(10_000)] == [None] * 10_000
    assert time.monotonic() - began < 5.0, "none of them tried to connect"
    pace.close()
