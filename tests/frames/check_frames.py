"""Checks that the real libraries take candles as chandlery hands them out, and freqtrade the files made for it.

    PYTHONPATH=tests ENVIRONMENT-WITH-ALL-OF-THEM-AND-CHANDLERY/bin/python tests/frames/check_frames.py

A database of its own is filled with made-up candles with holes. Exits with status 0 if every check holds, else with a
traceback.
"""

# ruff: noqa: T201  a script that reports on standard output

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars

from candles import START, candles, series
from chandlery import Candles, PostgreSQLStorage
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.services.export_files import Wanted, export_files
from chandlery.storage.embedded import EmbeddedServer
from exported import store, with_holes
from processes import as_url

ROOT = Path(__file__).parents[2]
MARKETS = {"BTC-USDT": "BTC/USDT", "BTC-USDT-SWAP": "BTC/USDT:USDT", "BTC-USD-SWAP": "BTC/USD:BTC"}
FIVE = ["open", "high", "low", "close", "volume"]


def values(held: Candles) -> np.ndarray:
    """The five columns of numbers, as they are stored."""
    return held.to_pandas()[FIVE].to_numpy()


def check_polars(held: Candles) -> None:
    """Polars takes the object itself, and ``to_polars`` is the same frame."""
    frame = polars.DataFrame(held)
    assert frame.equals(held.to_polars())
    assert frame.schema["timestamp"] == polars.Datetime("ms", "UTC")
    assert frame["timestamp"].dt.epoch("ms").to_list() == held.batch.open_time.tolist()
    assert np.array_equal(frame.select(FIVE).to_numpy(), values(held))
    hours = frame.group_by_dynamic("timestamp", every="4h").agg(polars.col("high").max())
    assert len(hours) > 10
    print(f"polars {polars.__version__}: {len(frame)} rows from the object itself")


def check_duckdb(held: Candles) -> None:
    """DuckDB queries the object by the name of its variable."""
    [found] = duckdb.sql("SELECT count(*), max(high), min(epoch_ms(timestamp)) FROM held").fetchall()
    assert found == (len(held), held.batch.high.max(), held.batch.open_time[0])
    print(f"DuckDB {duckdb.__version__}: a query over the object itself")


def check_pandas(held: Candles) -> None:
    """pandas takes the object through Arrow, too."""
    frame = pd.DataFrame.from_arrow(held)
    assert np.array_equal(frame[FIVE].to_numpy(), values(held))
    print(f"pandas {pd.__version__}: from_arrow")


def check_backtesting(held: Candles) -> None:
    """A small strategy runs over the frame and trades."""
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    class Cross(Strategy):
        def init(self) -> None:
            mean = lambda days: lambda column: pd.Series(column).rolling(days).mean()  # noqa: E731
            self.fast, self.slow = (self.I(mean(days), self.data.Close) for days in (5, 20))

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.position.close()
                self.buy()
            elif crossover(self.slow, self.fast):
                self.position.close()
                self.sell()

    outcome = Backtest(held.to_backtesting(), Cross, cash=100_000, commission=0.001, finalize_trades=True).run()
    assert outcome["# Trades"] > 3, outcome
    assert outcome["Start"] == pd.Timestamp(START, unit="ms", tz="UTC")
    print(f"backtesting.py {version('backtesting')}: {outcome['# Trades']} trades of a strategy")


def check_lightweight_charts(held: Candles) -> None:
    """The bars that the chart would draw stand at the seconds of the candles."""
    from lightweight_charts.widgets import StaticLWC

    chart = StaticLWC(width=800, height=400)
    chart.set(held.to_lightweight_charts())
    drawn = chart._html[chart._html.rindex(".series.setData(") :].removeprefix(".series.setData(")
    bars, _ = json.JSONDecoder().raw_decode(drawn)
    assert [bar["time"] for bar in bars] == (held.batch.open_time // 1000).tolist()
    assert [bar["close"] for bar in bars] == held.batch.close.tolist()
    print(f"lightweight-charts {version('lightweight-charts')}: {len(bars)} bars at their own seconds")


def check_freqtrade(storage: PostgreSQLStorage, folder: Path) -> None:
    """freqtrade's own data handler finds, names, and reads every exported file, and fills the holes as it does."""
    from freqtrade.data.history.datahandlers import get_datahandler
    from freqtrade.enums import CandleType, TradingMode

    files = export_files(storage, folder, "freqtrade", Wanted())
    handler = get_datahandler(folder, "feather")
    found = {mode: handler.ohlcv_get_available_data(folder, mode) for mode in (TradingMode.SPOT, TradingMode.FUTURES)}
    pairs = {(pair, bar) for of_mode in found.values() for pair, bar, _ in of_mode}
    assert pairs == {(MARKETS[file.series.symbol], file.series.timeframe.name) for file in files}
    for file in files:
        pair, bar = MARKETS[file.series.symbol], file.series.timeframe.name
        kind = CandleType.FUTURES if ":" in pair else CandleType.SPOT
        own = storage.candles(file.series.symbol, bar)
        frame = handler.ohlcv_load(pair, bar, kind, fill_missing=False)
        pd.testing.assert_frame_equal(frame, own.to_freqtrade(), check_exact=True)
        filled = handler.ohlcv_load(pair, bar, kind)
        assert len(filled) == file.series.timeframe.count(own.batch.span), (pair, bar)
    print(f"freqtrade {version('freqtrade')}: {len(files)} files found, named and read by its data handler")


def check_freqtrade_command(folder: Path, work: Path) -> None:
    """Its command line lists what was exported."""
    data = work / "user_data" / "data" / "okx"
    shutil.copytree(folder, data)
    program = str(Path(sys.executable).with_name("freqtrade"))
    command = [program, "list-data", "--userdir", str(work / "user_data"), "--exchange", "okx"]
    done = subprocess.run(command, cwd=work, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "BTC/USDT" in done.stdout, done.stdout
    print("freqtrade list-data names the exported pairs")


def check_documentation(dsn: str) -> None:
    """The programs in the documentation run as they stand, but for the address of the database."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "frames.md").read_text(), re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        program = "\n".join(blocks).replace("postgresql://user@host/database", dsn)
        subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True)
    print(f"documentation: {len(blocks)} programs run")


def fill(storage: PostgreSQLStorage) -> None:
    """A month of hours with holes, and every other timeframe."""
    for symbol in MARKETS:
        store(storage, with_holes(series(symbol, "1h"), 744, start=START, share=0.05))
        others = [series(symbol, name) for name in TIMEFRAMES if name != "1h"]
        store(storage, *(candles(of, 30) for of in others))


CHECKS: list[Callable[[Candles], None]] = [
    check_polars,
    check_duckdb,
    check_pandas,
    check_backtesting,
    check_lightweight_charts,
]


def main() -> None:
    """Fill a database, run every check, tell how long it took."""
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="chandlery-frames-"))
    work.chmod(0o755)  # as root the database runs as another user, who must be able to enter
    try:
        with EmbeddedServer(work / "server", durable=False) as server:
            dsn = as_url(server.conninfo)
            with PostgreSQLStorage(dsn) as storage:
                fill(storage)
                for check in CHECKS:
                    check(storage.candles("BTC-USDT", "1h"))
                check_freqtrade(storage, work / "okx")
                check_freqtrade_command(work / "okx", work)
                check_documentation(dsn)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"all of them take what is made for them ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
