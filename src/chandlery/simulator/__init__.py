"""An exchange on this machine that speaks OKX's protocol, for tests and trials without a network.

with Simulator(SeededMarket(seed=7)).run_in_thread() as simulator:
    ...  # point any OKX client at simulator.base_url
"""

from chandlery.simulator.clock import Clock, FixedClock, RealClock, RunningClock
from chandlery.simulator.exchange import NO_RATE_LIMITS, RateLimits
from chandlery.simulator.faults import FILE_FAULTS, OBVIOUS_FAULTS, PAGE_FAULTS, PLAUSIBLE_LIES, FaultKind, FaultPlan
from chandlery.simulator.limits import DOCUMENTED_LIMITS, Limit
from chandlery.simulator.market import Market
from chandlery.simulator.replay import ReplayMarket
from chandlery.simulator.running import run_simulator
from chandlery.simulator.seeded import SeededMarket
from chandlery.simulator.server import Simulator
from chandlery.simulator.stream_faults import StreamFaultKind, StreamFaultPlan

__all__ = [
    "DOCUMENTED_LIMITS",
    "FILE_FAULTS",
    "NO_RATE_LIMITS",
    "OBVIOUS_FAULTS",
    "PAGE_FAULTS",
    "PLAUSIBLE_LIES",
    "Clock",
    "FaultKind",
    "FaultPlan",
    "FixedClock",
    "Limit",
    "Market",
    "RateLimits",
    "RealClock",
    "ReplayMarket",
    "RunningClock",
    "SeededMarket",
    "Simulator",
    "StreamFaultKind",
    "StreamFaultPlan",
    "run_simulator",
]
