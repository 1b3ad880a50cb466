"""``python -m drill``: faults at random for many seeds, measured outages, and a day with an outage an hour."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from drill.exercise import drill, say
from drill.outages import a_day, outage
from faults.servers import PrivateServer


def main() -> int:
    """Run what the command line asks for; 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m drill", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many drills at random (%(default)s)")
    parser.add_argument("--first", type=int, help="the first seed; by default one that the clock gives")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (%(default)s)")
    parser.add_argument("--outage", type=float, nargs="*", default=[], help="outages of so many seconds, measured")
    parser.add_argument("--day", action="store_true", help="24 simulated hours with an outage an hour")
    chosen = parser.parse_args()
    first = int(time.time()) % 1_000_000 if chosen.first is None else chosen.first
    with PrivateServer(shared_buffers="32MB") as server:
        server.make_schema()
        for seconds in chosen.outage:
            say(outage(seconds, server))
        if chosen.day:
            say(a_day(server))
        return drills(range(first, first + chosen.seeds), server, chosen.rounds)


def drills(seeds: range, server: PrivateServer, rounds: int) -> int:
    """One drill a seed, a line each, and their sum; ends with the first that fails."""
    strikes, candles, answers = Counter[str](), 0, 0
    for seed in seeds:
        try:
            outcome = drill(seed, server, rounds=rounds)
        except BaseException:
            say(f"seed {seed} FAILED; run it again with: python -m drill --first {seed} --seeds 1 --rounds {rounds}")
            raise
        say(str(outcome))
        strikes += outcome.strikes
        candles += outcome.candles
        answers += outcome.exchange_faults
    if seeds:
        for name, count in sorted(strikes.items()):
            say(f"{count:6,}  {name}")
        say(
            f"{len(seeds)} seeds from {seeds[0]}: {strikes.total():,} strikes, {answers:,} bad answers, "
            f"{candles:,} candles; 0 lost, 0 doubled, the ledger never ahead of the data"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
