"""Checks that ccxt, a general exchange library, takes the simulator for OKX.

    ENVIRONMENT-WITH-CCXT/bin/python tests/ccxt/check_ccxt.py ENVIRONMENT-WITH-CHANDLERY/bin/python

ccxt pins its dependencies, so it has an environment of its own, made from requirements.txt beside this file; the
simulator runs in a process of the other one. Exits with status 0 if every check holds, else with a traceback.
"""

# ruff: noqa: T201  a script that reports on standard output

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlencode

import ccxt

SIMULATE = "import chandlery.simulator as s; s.run_simulator(seed=7, on_ready=lambda url: print(url, flush=True))"
TIMEFRAMES = {
    "1m": "1m",
    "5m": "5m",
    "1h": "1H",
    "4h": "4H",
    "6h": "6Hutc",
    "1d": "1Dutc",
    "1w": "1Wutc",
    "1M": "1Mutc",
}
SYMBOLS = {"BTC/USDT": "BTC-USDT", "BABYDOGE/USDT": "BABYDOGE-USDT", "BTC/USDT:USDT": "BTC-USDT-SWAP"}
SYMBOLS |= {"BTC/USD:BTC": "BTC-USD-SWAP", "BTC/USDT:USDT-280331": "BTC-USDT-280331"}
MINUTE_MS = 60_000
PACE_S = 0.2  # between the requests made without ccxt, which paces its own
EXPECTED_ERRORS = {
    "rate_limit": ccxt.RateLimitExceeded,
    "busy": ccxt.ExchangeNotAvailable,
    "unavailable": ccxt.ExchangeNotAvailable,
    "html_502": ccxt.ExchangeNotAvailable,
    "drop": ccxt.NetworkError,
}


@contextlib.contextmanager
def simulator(python: str) -> Iterator[str]:
    """The base URL of a simulator that runs with rate limits in a process of ``python``."""
    with subprocess.Popen([python, "-c", SIMULATE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def client(base_url: str) -> ccxt.okx:
    """ccxt's client of OKX, pointed at the simulator."""
    okx = ccxt.okx()
    okx.urls["api"]["rest"] = base_url
    return okx


def plain_rows(base_url: str, bar: str, inst_id: str, **cursors: object) -> list[list[float]]:
    """The simulator's own candles, asked for without ccxt: time, prices and base volume, oldest first."""
    time.sleep(PACE_S)
    query = urlencode({"instId": inst_id, "bar": bar, "limit": 300, **cursors})
    with urllib.request.urlopen(f"{base_url}/api/v5/market/history-candles?{query}") as response:
        rows = json.load(response)["data"]
    volume = 5 if inst_id.count("-") == 1 else 6
    return [[float(row[column]) for column in (0, 1, 2, 3, 4, volume)] for row in reversed(rows)]


def check_markets(okx: ccxt.okx) -> None:
    """Every kind of instrument is understood, down to a tick of 1e-12."""
    markets = okx.load_markets()
    for symbol, inst_id in SYMBOLS.items():
        assert markets[symbol]["id"] == inst_id, symbol
    assert markets["BABYDOGE/USDT"]["precision"]["price"] == 1e-12
    assert markets["BTC/USDT:USDT"]["contractSize"] == 0.01
    assert markets["BTC/USDT:USDT"]["linear"]
    assert markets["BTC/USD:BTC"]["inverse"]
    assert markets["BTC/USDT:USDT-280331"]["expiry"] == 1_838_102_400_000
    print(f"markets: {len(markets)} loaded")


def check_candles(okx: ccxt.okx, base_url: str, symbol: str, timeframe: str) -> None:
    """A page of the past, and the newest candles, are the simulator's own."""
    bar, inst_id = TIMEFRAMES[timeframe], SYMBOLS[symbol]
    past = plain_rows(base_url, bar, inst_id, after=okx.milliseconds() - 2_000 * MINUTE_MS)
    since = int(past[max(0, len(past) - 40)][0])
    fetched = okx.fetch_ohlcv(symbol, timeframe, since=since, limit=300)
    wanted = [row for row in past if row[0] >= since]
    assert fetched[: len(wanted)] == wanted, f"{symbol} {timeframe} differs"
    newest = okx.fetch_ohlcv(symbol, timeframe, limit=300)[:-2]
    confirmed = plain_rows(base_url, bar, inst_id)[-len(newest) - 2 :]
    assert [row for row in confirmed if row in newest] == newest, f"the newest of {symbol} {timeframe} differ"
    print(f"candles: {symbol} {timeframe}: {len(wanted)} past and {len(newest)} newest are equal")


def check_errors(okx: ccxt.okx, base_url: str) -> None:
    """What goes wrong arrives as the kind of error that ccxt has for it."""
    for kind, expected in EXPECTED_ERRORS.items():
        order = json.dumps({"kind": kind, "endpoint": "candles"}).encode()
        urllib.request.urlopen(f"{base_url}/simulator/faults", order).close()
        error = error_of(okx, "BTC-USDT", "1m")
        assert isinstance(error, expected), f"{kind} gave {error!r}"
        print(f"errors: {kind} is {type(error).__name__}")
    assert isinstance(error_of(okx, "NO-SUCHTHING", "1m"), ccxt.BadSymbol)
    assert isinstance(error_of(okx, "BTC-USDT", "1h"), ccxt.BadRequest)
    print("errors: an unknown instrument is BadSymbol, a bad bar BadRequest")


def error_of(okx: ccxt.okx, inst_id: str, bar: str) -> Exception | None:
    """The error that a request for candles ends with, or None."""
    try:
        okx.publicGetMarketCandles({"instId": inst_id, "bar": bar})
    except Exception as error:
        return error
    return None


def main() -> None:
    """Start the simulator, run every check, tell how long it took."""
    parser = argparse.ArgumentParser(description="Check that ccxt takes the simulator for OKX.")
    parser.add_argument("python", help="the interpreter of the environment that has chandlery")
    arguments = parser.parse_args()
    started = time.monotonic()
    with simulator(arguments.python) as base_url:
        okx = client(base_url)
        assert abs(okx.fetch_time() - okx.milliseconds()) < 5_000
        check_markets(okx)
        for timeframe in TIMEFRAMES:
            check_candles(okx, base_url, "BTC/USDT", timeframe)
        for symbol in SYMBOLS:
            check_candles(okx, base_url, symbol, "1m")
        check_errors(okx, base_url)
    print(f"ccxt {ccxt.__version__} takes the simulator for OKX ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
