"""The most memory that each command ever holds, with some candles and with five times as many.

Each command is a process of its own. Those that fetch do so from a simulated exchange without rate limits, which lives
in this one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from benchmarks.samples import START, candles_from
from benchmarks.server import database_on
from chandlery.domain.timeframe import MINUTE_MS, UtcMs
from chandlery.simulator import FixedClock, RunningClock, SeededMarket, Simulator
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.csv_format import HEADER, encode
from chandlery.storage.pgtime import to_datetime

TIMES = (1, 5)

_NOW: UtcMs = 1_735_689_600_000
"""2025-01-01 UTC."""
_SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "DOGE-USDT")
_MINUTES_A_SECOND = 10
_STREAM_S = 4
_UNPACED = {
    f"CHANDLERY_DATA_COLLECTION_{name}_LIMIT": "100000" for name in ("CANDLES", "HISTORY", "INSTRUMENTS", "TIME")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The highest resident memory of ``command`` at work on ``candles``, in MiB.

    ``child_mib`` is that of the largest program that it started, such as pg_dump, 0 if none.
    """

    command: str
    times: int
    candles: int
    mib: float
    child_mib: float


def memory_peaks(conninfo: str, rows: int) -> list[Peak]:
    """Of every command, with a fifth of ``rows`` and with all of them; a collection by pages has a fifth of that."""
    with Simulator(SeededMarket(1, _SYMBOLS), clock=FixedClock(_NOW)).run_in_thread() as exchange:
        return [peak for times in TIMES for peak in _all_commands(conninfo, exchange.base_url, rows // 5, times)]


def _all_commands(conninfo: str, base_url: str, rows: int, times: int) -> Iterator[Peak]:
    with database_on(conninfo) as database, tempfile.TemporaryDirectory() as folder:
        commands = Commands(_variables(database), times)
        stored, collected = rows * times, rows // 5 * times
        yield commands.run("import", str(_csv_file(Path(folder), stored)), candles=stored)
        yield commands.run("check", candles=stored)
        yield commands.run("seal", candles=stored)
        yield commands.run("export csv", f"{folder}/exported", candles=stored)
        yield commands.run("backup create", "--folder", f"{folder}/backups", candles=stored)
        since = to_datetime(_NOW - collected * MINUTE_MS).isoformat()
        exchange = ("--base-url", base_url)
        yield commands.run("collect --bulk never", "BTC-USDT", *exchange, "--since", since, candles=collected)
        months = ("--since", "2024-01-01", "--until", f"2024-{times:02d}-28")
        bars = ((times - 1) * 31 + 28) * 1440
        yield commands.run("collect --bulk only", "ETH-USDT", *exchange, *months, candles=bars)
        yield commands.stream(_STREAM_S * times)


class Commands:
    """Runs commands in processes of their own and tells their peaks."""

    def __init__(self, variables: Mapping[str, str], times: int) -> None:
        self._variables = variables
        self._times = times

    def run(self, command: str, *arguments: str, candles: int) -> Peak:
        """Run a command to its end; one that finds something may end with 1."""
        process = self._start(*command.split(), *arguments)
        return self._peak(command, process, candles)

    def stream(self, seconds: int) -> Peak:
        """Stream from an exchange whose minutes are short, and stop it after so many seconds."""
        clock = RunningClock(_NOW, 60 * _MINUTES_A_SECOND)
        with Simulator(SeededMarket(1, _SYMBOLS), clock=clock).run_in_thread() as exchange:
            process = self._start("stream", *_SYMBOLS, "--base-url", exchange.base_url)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
            return self._peak("stream", process, seconds * _MINUTES_A_SECOND * len(_SYMBOLS))

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.commanding", *arguments],
            env=dict(self._variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _peak(self, command: str, process: subprocess.Popen[str], candles: int) -> Peak:
        out, err = process.communicate()
        if process.returncode not in (0, 1) or not out:
            raise RuntimeError(f"chandlery {command} ended with {process.returncode}: {err[-2000:]}")
        own, child = (int(number) / 2**20 for number in out.splitlines()[-1].split())
        return Peak(command=command, times=self._times, candles=candles, mib=own, child_mib=child)


def _csv_file(folder: Path, rows: int) -> Path:
    batch = candles_from("BTC-USDT", START, rows, seed=0)
    file = CsvStore(folder).path(batch.series)
    file.write_bytes(HEADER + encode(batch))
    return file


def _variables(conninfo: str) -> dict[str, str]:
    """This environment without settings, and with the database's; so that no list of processes shows it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHANDLERY_")}
    return environment | _UNPACED | {"CHANDLERY_DATABASE_URL": _as_url(conninfo)}


def _as_url(conninfo: str) -> str:
    known = {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    login = quote(known.pop("user", ""), safe="")
    if "password" in known:
        login += ":" + quote(known.pop("password"), safe="")
    return f"postgresql://{login}@/{quote(known.pop('dbname'), safe='')}?{urlencode(known)}"
