"""Commands run as processes against a simulated exchange in this process and a database of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from market import NOW

from chandlery.simulator import FixedClock, SeededMarket, Simulator
from processes import Shell, as_url

_ENDPOINTS = ("CANDLES", "HISTORY", "INSTRUMENTS", "TIME", "FILE_LISTING", "FILES")
UNHURRIED = {f"CHANDLERY_DATA_COLLECTION_{name}_LIMIT": "2000" for name in _ENDPOINTS}
"""The simulator of these tests counts no requests, so nobody need pace them."""


@pytest.fixture
def clock() -> FixedClock:
    """Half a minute after 2024-03-01 began."""
    return FixedClock(NOW)


@pytest.fixture
def exchange(clock: FixedClock) -> Iterator[Simulator]:
    """A made-up market at that time."""
    with Simulator(SeededMarket(3), clock=clock).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def shell(database_url: str, exchange: Simulator, tmp_path: Path) -> Shell:
    """A shell in an empty folder whose commands use the test's database and exchange, and do not pace requests.

    They ask for pages alone: files have tests of their own.
    """
    variables = {
        "CHANDLERY_DATABASE_URL": as_url(database_url),
        "CHANDLERY_DATA_COLLECTION_BASE_URL": exchange.base_url,
        "CHANDLERY_DATA_COLLECTION_BULK": "never",
        **UNHURRIED,
    }
    return Shell(folder=tmp_path, variables=variables)
