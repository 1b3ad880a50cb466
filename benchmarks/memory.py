"""The most memory that ``chandlery collect`` ever holds, for a short run and for one that is ten times as long.

Each run is a process of its own and fetches from a simulated exchange without rate limits, which lives in this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from chandlery.domain.timeframe import MINUTE_MS, UtcMs
from chandlery.simulator import FixedClock, SeededMarket, Simulator
from chandlery.storage.pgtime import to_datetime

_NOW: UtcMs = 1_735_689_600_000
"""2025-01-01 UTC."""

_UNPACED = {
    f"CHANDLERY_DATA_COLLECTION_{name}_LIMIT": "100000" for name in ("CANDLES", "HISTORY", "INSTRUMENTS", "TIME")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The highest resident memory of a run that collected ``candles``; ``mib`` in MiB."""

    candles: int
    mib: float


def memory_peaks(conninfo: str, lengths: Sequence[int]) -> list[Peak]:
    """Collect that many candles, each time of another instrument, so that each run begins with nothing."""
    symbols = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    market = SeededMarket(1, symbols)
    with Simulator(market, clock=FixedClock(_NOW)).run_in_thread() as exchange:
        return [
            _peak(conninfo, exchange.base_url, symbol, count) for symbol, count in zip(symbols, lengths, strict=False)
        ]


def _peak(conninfo: str, base_url: str, symbol: str, count: int) -> Peak:
    since = to_datetime(_NOW - count * MINUTE_MS).isoformat()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHANDLERY_")}
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.collecting", symbol, "--base-url", base_url, "--since", since],
        env=environment | _UNPACED | {"CHANDLERY_DATABASE_URL": _as_url(conninfo)},
        stdout=subprocess.PIPE,
        check=True,  # it succeeds only if nothing is missing
    )
    return Peak(candles=count, mib=int(finished.stdout.split()[-1]) / 2**20)


def _as_url(conninfo: str) -> str:
    """A connection string as the URL that the setting wants; through the environment, so that no list shows it."""
    known = {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    login = quote(known.pop("user", ""), safe="")
    if "password" in known:
        login += ":" + quote(known.pop("password"), safe="")
    return f"postgresql://{login}@/{quote(known.pop('dbname'), safe='')}?{urlencode(known)}"
