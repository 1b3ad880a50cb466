"""``python -m drill``: faults at random for many seeds, outages by the clock, a day of them, and live candles."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from psycopg.conninfo import make_conninfo

from drill.exercise import database, drill, say
from drill.live import live_drill
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
    parser.add_argument("--live", type=int, metavar="MINUTES", help="so many simulated minutes of 300 live series")
    parser.add_argument("--live-speed", type=float, default=20.0, help="simulated seconds a second (%(default)s)")
    chosen = parser.parse_args()
    first = int(time.time()) % 1_000_000 if chosen.first is None else chosen.first
    with PrivateServer(shared_buffers="32MB") as server:
        server.make_schema()
        for seconds in chosen.outage:
            say(outage(seconds, server))
        if chosen.day:
            say(a_day(server))
        if chosen.live:
            with database(server) as name:
                url = make_conninfo(server.direct, dbname=name)
                say(str(live_drill(url, series=300, minutes=chosen.live, speed=chosen.live_speed, losses=30)))
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
