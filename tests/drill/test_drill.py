"""A short form of ``make drill``: some seeds, always the same, and a new one, which is printed if it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from drill.exercise import drill, say
from drill.live import live_drill
from faults.servers import PrivateServer

A_NEW_ONE = int(time.time()) // 60 % 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with PrivateServer(shared_buffers="32MB") as opened:
        opened.make_schema()
        yield opened


@pytest.mark.parametrize("seed", [1, 2, None], ids=["seed 1", "seed 2", "a new one"])
def test_faults_at_random_lose_nothing_and_double_nothing(server: PrivateServer, seed: int | None) -> None:
    say(f"seed {A_NEW_ONE if seed is None else seed}")
    say(str(drill(A_NEW_ONE if seed is None else seed, server, rounds=2)))


def test_a_stream_that_is_lost_again_and_again_loses_nothing(database_url: str) -> None:
    say(str(live_drill(database_url, series=20, minutes=6, speed=60.0, losses=4, missing=0.05)))
