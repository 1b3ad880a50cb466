"""``python -m fuzz``: hostile candles at every door, into a throw-away server; exit code 1 where one fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.postgres import PostgreSQLStorage
from fuzz.doors import Failed, Fuzz, throws


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began, failures = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="chandlery-fuzz-") as made:
        Path(made).chmod(0o755)
        server = EmbeddedServer(Path(made) / "server", durable=False)
        with server, PostgreSQLStorage(server.conninfo) as storage:
            storage.require_schema()
            fuzz = Fuzz(storage, Path(made))
            for number, door in enumerate(throws(chosen.cases)):
                try:
                    fuzz.throw(door, chosen.seed * 1_000_000 + number)
                except Failed as failure:
                    failures += 1
                    say(str(failure))
            bad = fuzz.bad_rows()
    for name, count in sorted(fuzz.counts.items()):
        say(f"{name:30} {count:>10,}")
    cases = sum(count for name, count in fuzz.counts.items() if name.endswith("cases"))
    say(f"{cases:,} cases in {time.monotonic() - began:.0f} s: {failures} failures, {bad} bad rows stored")
    return 1 if failures or bad else 0


if __name__ == "__main__":
    sys.exit(main())
