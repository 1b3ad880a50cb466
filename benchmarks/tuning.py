"""What single settings of the server are worth here: ``python -m benchmarks.tuning``; docs/tuning.md has its figures.

Each variant is a server of its own with one setting changed, asked for the same work in turns. The work is a save of
candles of one series into empty partitions, and what a person asks in SQL: a count a day through the view of all.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psycopg

from benchmarks.machine import load_now
from benchmarks.samples import one_series
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.intake.frames import candles_frame
from chandlery.storage.postgres import PostgreSQLStorage

VARIANTS: dict[str, dict[str, str]] = {
    "as shipped": {},
    "max_wal_size 256MB": {"max_wal_size": "256MB"},
    "max_wal_size 8GB, checkpoint_timeout 30min": {"max_wal_size": "8GB", "checkpoint_timeout": "30min"},
    "wal_compression pglz": {"wal_compression": "on"},
    "synchronous_commit off": {"synchronous_commit": "off"},
    "shared_buffers 32MB": {"shared_buffers": "32MB"},
    "shared_buffers 2GB": {"shared_buffers": "2GB"},
    "jit off": {"jit": "off"},
    "work_mem 64MB": {"work_mem": "64MB"},
}
_BY_DAY = "SELECT symbol, date_trunc('day', timestamp), count(*), max(high) FROM chandlery.ohlcv GROUP BY 1, 2"
_PAGES = 300
"""Candles a small save, as of a page."""


@dataclass(slots=True)
class Variant:
    """A server with its own settings, and what it took: milliseconds a round, bytes of WAL a candle."""

    storage: PostgreSQLStorage
    connection: psycopg.Connection
    save: list[float] = field(default_factory=list)
    small_save: list[float] = field(default_factory=list)
    by_day: list[float] = field(default_factory=list)
    wal: list[float] = field(default_factory=list)

    def round(self, frame: pd.DataFrame) -> None:
        """Save, save a page of them of another series, and ask."""
        page = frame.head(_PAGES)
        self.connection.execute("TRUNCATE chandlery.candle, chandlery.coverage, chandlery.revision")
        before = self._wal()
        self.save.append(_ms(lambda: self.storage.save_ohlcv_data(frame, "BTC-USDT", "1m")))
        self.wal.append((self._wal() - before) / len(frame))
        self.small_save.append(_ms(lambda: self.storage.save_ohlcv_data(page, "ETH-USDT", "1m")))
        self.by_day.append(_ms(lambda: self.connection.execute(_BY_DAY).fetchall()))

    def _wal(self) -> int:
        row = self.connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
        assert row is not None
        return int(row[0])


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    frame, load = candles_frame(one_series(given.rows)), load_now()
    with contextlib.ExitStack() as servers:
        variants = {name: servers.enter_context(_started(options)) for name, options in VARIANTS.items()}
        for variant in variants.values():
            variant.round(frame.head(given.rows // 10))
            for figures in (variant.save, variant.small_save, variant.by_day, variant.wal):
                figures.clear()
        names = list(variants)
        for number in range(given.rounds):
            for name in (*names[number % len(names) :], *names[: number % len(names)]):
                variants[name].round(frame)
    print(f"{given.rows:,} candles, {given.rounds} rounds, load {load} before and {load_now()} after\n")
    print(
        "| settings | save, ms | WAL, bytes a candle | save of a page, ms | SQL over all, ms |\n|---|--:|--:|--:|--:|"
    )
    for name, one in variants.items():
        cells = (_shown(one.save), f"{statistics.median(one.wal):.0f}", _shown(one.small_save), _shown(one.by_day))
        print(f"| {name} | {' | '.join(cells)} |")


@contextlib.contextmanager
def _started(options: dict[str, str]) -> Iterator[Variant]:
    with tempfile.TemporaryDirectory(prefix="chandlery-tuning-") as folder:
        Path(folder).chmod(0o755)  # started by root, the server runs as another user, who must get there
        with (
            EmbeddedServer(Path(folder) / "server", options=options) as server,
            PostgreSQLStorage(server.conninfo) as storage,
            psycopg.connect(server.conninfo, autocommit=True) as connection,
        ):
            storage.require_schema()
            yield Variant(storage, connection)


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _shown(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


if __name__ == "__main__":
    main()
