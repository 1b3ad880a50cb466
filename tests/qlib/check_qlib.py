"""Checks that the real Qlib takes what is made for it: the exported folder, and PostgreSQL without one.

    ENVIRONMENT-WITH-QLIB-AND-CHANDLERY/bin/python tests/qlib/check_qlib.py

A database of its own is filled from a simulated exchange. Exits with status 0 if every check holds, else with a
traceback. What Qlib remembers of a folder it remembers for the life of a process, so every check has one of its own.
"""

# ruff: noqa: T201  a script that reports on standard output

from __future__ import annotations

import argparse
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pandas as pd
from psycopg.conninfo import conninfo_to_dict

from chandlery.domain.candle import CandleBatch
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import timeframe
from chandlery.services.export_qlib import Selection, export_qlib
from chandlery.simulator import SeededMarket
from chandlery.simulator.bars import utc_bar
from chandlery.storage.embedded import EmbeddedServer
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery

ROOT = Path(__file__).parents[2]
BEGIN, NOW = 1_672_531_200_000, 1_709_251_200_000
"""2023-01-01 and 2024-03-01 UTC."""
DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "DOGE-USDT", "SHIB-USDT", "BABYDOGE-USDT", "BTC-USDT-SWAP", "ETH-BTC")
FIELDS = ["$open", "$high", "$low", "$close", "$volume", "$amount", "$vwap", "$change", "$factor"]
EXPRESSIONS = [*FIELDS, "Ref($close, 1)", "Mean($close, 24)", "$close/$open-1"]


def market_candles(symbol: str, interval: str, start: int, end: int) -> CandleBatch:
    """The simulated exchange's candles."""
    of = Series("okx-simulated", symbol, timeframe(interval))
    rows = SeededMarket(3).newest(symbol, utc_bar(of.timeframe), Span(start, end), 2**31)
    return CandleBatch.of(of, rows.columns())


def save(storage: PostgreSQLStorage, batch: CandleBatch) -> None:
    """Store candles as collecting does."""
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])


def fill(storage: PostgreSQLStorage) -> None:
    """Hours of two months, days of more than a year, some minutes, holes everywhere, one symbol listed late."""
    rng = np.random.default_rng(7)
    for symbol in SYMBOLS:
        late = 20 * DAY + 8 * HOUR if symbol == "SOL-USDT" else 0
        for interval, start in (("1h", NOW - 60 * DAY + late), ("1d", BEGIN + late), ("1m", NOW - 2 * DAY)):
            batch = market_candles(symbol, interval, start, NOW)
            kept = rng.random(len(batch)) > (0.0 if symbol == "BTC-USDT" else 0.02)
            save(storage, batch.take(kept))


def asked(source: str, queries: Sequence[dict[str, Any]], kernels: int = 1) -> list[pd.DataFrame]:
    """What Qlib answers, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "queries"), Path(folder, "answers")
        paths[0].write_bytes(pickle.dumps((source, list(queries), kernels)))
        subprocess.run([sys.executable, __file__, "--answer", *map(str, paths)], check=True, cwd=folder)
        answers: list[pd.DataFrame] = pickle.loads(paths[1].read_bytes())
        return answers


def answer(queries_file: Path, answers_file: Path) -> None:
    """The other side of ``asked``."""
    source, queries, kernels = pickle.loads(queries_file.read_bytes())
    if "://" in source or "=" in source:
        import chandlery.qlib

        chandlery.qlib.init(source, kernels=kernels)
    else:
        import qlib

        qlib.init(provider_uri=source, region="us", kernels=kernels, trade_unit=None)
    from qlib.contrib.data.handler import Alpha158
    from qlib.data import D

    answers = []
    for query in queries:
        if "alpha158" in query:
            answers.append(Alpha158(instruments="all", freq=query["alpha158"]).fetch())
        else:
            answers.append(D.features(query["symbols"] or D.instruments("all"), EXPRESSIONS, **query["where"]))
    answers_file.write_bytes(pickle.dumps(answers))


def random_queries(count: int) -> list[dict[str, Any]]:
    """Random symbols, frequencies and spans, a query of all first."""
    rng = np.random.default_rng(11)
    found: list[dict[str, Any]] = [{"symbols": [], "where": {"freq": freq}} for freq in ("60min", "day", "1min")]
    for _ in range(count):
        freq, length = (("60min", 60), ("day", 420), ("1min", 2))[rng.integers(3)]
        start, end = sorted(NOW - rng.random(2) * length * DAY)
        where = {"freq": freq, "start_time": pd.Timestamp(start, unit="ms"), "end_time": pd.Timestamp(end, unit="ms")}
        symbols = rng.choice(SYMBOLS, rng.integers(1, 4), replace=False).tolist()
        found.append({"symbols": symbols, "where": where})
    return found


def check_equal(storage: PostgreSQLStorage, dsn: str, folder: Path) -> None:
    """Folder and database give equal frames, and the frames are what is stored."""
    queries = [*random_queries(40), {"alpha158": "60min"}]
    by_file, by_database = asked(str(folder), queries), asked(dsn, queries)
    for query, one, other in zip(queries, by_file, by_database, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True, obj=str(query))
    assert not by_file[-1]["VWAP0"].isna().all(), "Alpha158 has no vwap"
    for frame, interval in zip(by_file, ("1h", "1d", "1m"), strict=False):
        for symbol in SYMBOLS:
            stored = storage.get_candles(symbol, interval)
            close = frame.xs(symbol, level="instrument")["$close"].dropna()
            assert close.index.astype("datetime64[ms]").astype("int64").tolist() == stored.open_time.tolist(), symbol
            assert np.array_equal(close.to_numpy(), stored.close.astype(np.float32)), symbol
    [forked] = asked(dsn, queries[:1], kernels=2)
    pd.testing.assert_frame_equal(forked, by_file[0], check_exact=True)
    print(f"equal: {len(queries)} queries, {sum(frame.size for frame in by_file):,} values, by file and by database")


def check_update_over_a_gap(storage: PostgreSQLStorage, folder: Path) -> None:
    """A symbol pauses, others go on, it comes back: appending at the end of its file would shift it into the pause."""
    days = Selection(symbols=["BTC-USDT", "ETH-USDT"], timeframes=[timeframe("1d")])
    export_qlib(storage, folder, days)
    save(storage, market_candles("BTC-USDT", "1d", NOW, NOW + 10 * DAY))
    save(storage, market_candles("ETH-USDT", "1d", NOW + 7 * DAY, NOW + 10 * DAY))
    report = export_qlib(storage, folder, days)
    assert report.outcome == "appended", report
    [frame] = asked(str(folder), [{"symbols": ["ETH-USDT"], "where": {"freq": "day"}}])
    close = frame.xs("ETH-USDT", level="instrument")["$close"]
    assert close[-10:].isna().tolist() == [True] * 7 + [False] * 3
    expected = storage.get_candles("ETH-USDT", "1d").close[-3:].astype(np.float32)
    assert np.array_equal(close[-3:].to_numpy(), expected)
    print("update: a symbol that paused stands at its own days again")


def check_workflow(source: str) -> None:
    """The example that the documentation shows runs to its end."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
        command = [sys.executable, str(ROOT / "examples" / "qlib_workflow.py"), source]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "information ratio" in done.stdout, done.stdout
    told = "\n".join(f"  {line}" for line in done.stdout.splitlines()[-4:])  # before it, what Qlib and LightGBM say
    print(f"workflow, {'by database' if '://' in source else 'by file'}:\n{told}")


def check_documentation(dsn: str, export: Path) -> None:
    """The programs in the documentation run as they stand, but for the address of the database."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "qlib.md").read_text(), re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "qlib-data").symlink_to(export)
        for block in blocks:
            program = block.replace("postgresql://user@host/database", dsn) + "\nassert len(frame.dropna()) > 100\n"
            subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    print(f"documentation: {len(blocks)} programs run")


def check_speed(storage: PostgreSQLStorage, folder: Path) -> None:
    """How long an export takes; said and not judged, for it is the machine's matter too."""
    save(storage, market_candles("BTC-USDT-SWAP", "1m", NOW - 2 * DAY - 1_000_000 * MINUTE, NOW - 2 * DAY))
    for since, name in ((NOW - 10_000 * MINUTE, "10,000"), (NOW - 1_000_000 * MINUTE, "1,000,000")):
        began = time.monotonic()
        minutes = Selection(symbols=["BTC-USDT-SWAP"], timeframes=[timeframe("1m")], since=since)
        report = export_qlib(storage, folder / name, minutes)
        print(f"speed: {report.candles:,} candles in {time.monotonic() - began:.1f} s, {report.size / 1e6:.1f} MB")


def url_of(conninfo: str) -> str:
    """The same connection as a URL."""
    known = conninfo_to_dict(conninfo)
    rest = {key: str(value) for key, value in known.items() if key not in ("user", "dbname")}
    return f"postgresql://{quote(str(known['user']))}@/{quote(str(known['dbname']))}?{urlencode(rest)}"


def main() -> None:
    """Fill a database, run every check, tell how long it took."""
    parser = argparse.ArgumentParser(description="Check that the real Qlib takes what is made for it.")
    parser.add_argument("--answer", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        answer(*given.answer)
        return
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="chandlery-qlib-"))
    work.chmod(0o755)  # as root the database runs as another user, who must be able to enter
    try:
        with EmbeddedServer(work / "server", durable=False) as server:
            dsn = url_of(server.conninfo)
            with PostgreSQLStorage(dsn, exchange="okx-simulated") as storage:
                storage.require_schema()
                fill(storage)
                report = export_qlib(storage, work / "qlib", Selection())
                print(f"export: {report.candles:,} candles, {report.files} files, {report.size / 1e6:.1f} MB")
                check_equal(storage, dsn, work / "qlib")
                check_workflow(str(work / "qlib"))
                check_workflow(dsn)
                check_documentation(dsn, work / "qlib")
                check_update_over_a_gap(storage, work / "update")
                check_speed(storage, work / "speed")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    import qlib

    print(f"Qlib {qlib.__version__} takes what is made for it ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
