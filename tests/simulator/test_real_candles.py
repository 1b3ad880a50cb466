"""Real candles, replayed by the simulator, come back identical.

Where there are none, these tests are skipped and say so.
"""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest
from simulator_client import Asker

from chandlery.simulator import ReplayMarket, Simulator
from real_candles import FOLDER, needs

FILES = {
    "okx_BTC-USDT-SWAP_1m_2026-01.parquet": ("BTC-USDT-SWAP", "1m", 60_000, 0.01),
    "okx_DOGE-USDT-SWAP_5m_2022.parquet": ("DOGE-USDT-SWAP", "5m", 300_000, 1_000.0),
}

pytestmark = needs(*FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_value_is_served_identically(name: str):
    symbol, bar, step_ms, worth = FILES[name]
    market = ReplayMarket.from_files([FOLDER / name])
    with Simulator(market).run_in_thread() as simulator:
        rows = _whole_history(Asker(simulator.base_url), symbol, bar, market.ends_at + step_ms)
    served = np.array([[float(text) for text in row[:8]] for row in reversed(rows)])
    recorded = pa_parquet.read_table(FOLDER / name)
    for position, column in enumerate(("open_time_ms", "open", "high", "low", "close")):
        assert np.array_equal(served[:, position], recorded[column].to_numpy())
    base_volume = recorded["base_volume"].to_numpy()
    assert np.array_equal(served[:, 6], base_volume)
    assert np.array_equal(served[:, 5], np.round(base_volume / worth, 8))
    assert np.array_equal(served[:, 7], recorded["close"].to_numpy() * base_volume)
    assert {row[8] for row in rows} == {"1"}


def _whole_history(exchange: Asker, symbol: str, bar: str, end_ms: int) -> list[list[str]]:
    """The newest candles from the endpoint for those, all others from the history; newest first."""
    rows = exchange.candles(instId=symbol, bar=bar, after=end_ms, limit=300).data
    while page := exchange.history(instId=symbol, bar=bar, after=rows[-1][0], limit=300).data:
        rows += page
    return rows
