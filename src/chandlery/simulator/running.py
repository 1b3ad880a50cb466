"""The simulator as a process of its own: one market, its faults, and service until a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from chandlery.domain.timeframe import UtcMs
from chandlery.simulator.clock import clock_for
from chandlery.simulator.exchange import NO_RATE_LIMITS, RateLimits
from chandlery.simulator.faults import FaultPlan
from chandlery.simulator.market import Market
from chandlery.simulator.replay import ReplayMarket
from chandlery.simulator.seeded import SeededMarket
from chandlery.simulator.server import Simulator
from chandlery.simulator.stream_faults import StreamFaultKind, StreamFaultPlan


def run_simulator(
    *,
    files: Sequence[Path] = (),
    symbol: str | None = None,
    timeframe: str | None = None,
    seed: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
    start_at: UtcMs | None = None,
    speed: float = 1.0,
    rate_limits: bool = True,
    fault_rate: float = 0.0,
    fault_seed: int = 0,
    missing_confirms: float = 0.0,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; to be called from the main thread.

    With ``files`` it replays them (``symbol`` and ``timeframe`` where their names do not tell), else it is a market
    made from ``seed``, of ``symbol`` alone or of the whole catalogue. ``start_at`` is UTC milliseconds; ``speed``
    is how many simulated seconds pass in a second; ``fault_rate`` is the share of requests that meet an obvious fault,
    ``missing_confirms`` the share of closing pushes of the candle stream that never come.
    ``on_ready`` is called once with the base URL. Raises ConfigurationError or DataValidationError before that.
    """
    market: Market = (
        ReplayMarket.from_files(files, symbol=symbol, timeframe=timeframe)
        if files
        else SeededMarket(seed, [symbol] if symbol else None)
    )
    simulator = Simulator(
        market,
        clock=clock_for(market.ends_at, start_at=start_at, speed=speed),
        rate_limits=RateLimits() if rate_limits else NO_RATE_LIMITS,
        fault_plan=FaultPlan(fault_seed, fault_rate),
        stream_fault_plan=StreamFaultPlan(fault_seed, {StreamFaultKind.MISSING_CONFIRM: missing_confirms}),
        host=host,
        port=port,
    )
    asyncio.run(_serve_until_signal(simulator, on_ready))


async def _serve_until_signal(simulator: Simulator, on_ready: Callable[[str], None] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with simulator:
        if on_ready is not None:
            on_ready(simulator.base_url)
        await stop.wait()
