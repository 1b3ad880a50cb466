"""Collectors behind one address keep one pace, so that the exchange refuses none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from market import NOW, assert_complete, days, series

from chandlery.simulator import FixedClock, RateLimits, SeededMarket, Simulator
from chandlery.simulator.endpoints import HISTORY
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell, as_url

REFUSED = "50011"


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    """A market that keeps the documented limits."""
    with Simulator(SeededMarket(3), clock=FixedClock(NOW), rate_limits=RateLimits()).run_in_thread() as simulator:
        yield simulator


@pytest.mark.parametrize("shared", [True, False], ids=["one pace", "each its own"])
def test_two_collectors_of_one_address_are_not_refused(
    exchange: Simulator, storage: PostgreSQLStorage, database_url: str, tmp_path: Path, shared: bool
) -> None:
    """Each alone would ask at nine tenths of the limit. Each at its own pace is refused, and goes on all the same."""
    variables = {
        "CHANDLERY_DATABASE_URL": as_url(database_url),
        "CHANDLERY_DATA_COLLECTION_BASE_URL": exchange.base_url,
        "CHANDLERY_DATA_COLLECTION_BULK": "never",
        "CHANDLERY_DATA_COLLECTION_SHARE_PACE": str(shared).lower(),
    }
    shell = Shell(folder=tmp_path, variables=variables)
    symbols = ("BTC-USDT", "ETH-USDT")
    running = [shell.start("collect", symbol, "-t", "1m", "--since", "2024-02-26") for symbol in symbols]
    done = [one.done() for one in running]
    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    for symbol in symbols:
        assert_complete(storage, exchange, series(symbol), days(4))
    requests = exchange.journal.requests
    assert sum(one.endpoint == HISTORY and one.served for one in requests) > 30, "more than the limit of any 2 s"
    assert any(one.code == REFUSED for one in requests) != shared, [one.code for one in requests]
