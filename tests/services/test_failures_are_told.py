"""Failures are told: one event each with series, span and next step, no secret; in ``status`` until it goes well."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from candles import START
from chandlery.cli.status import draw
from chandlery.domain.timeframe import HOUR_MS, TIMEFRAMES
from chandlery.errors import ConnectionError
from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.settings import OkxSettings
from chandlery.services import error_log
from chandlery.services.collect import Collector, SeriesReport, Wanted
from chandlery.services.outputs import PostgresOutput
from chandlery.services.status import series_status
from chandlery.setting_sections import LoggingSettings
from chandlery.simulator import FaultKind, FixedClock, SeededMarket, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.resilience import Setback

END = START + 2 * HOUR_MS


def collect(simulator: Simulator, storage: PostgreSQLStorage, attempts: int) -> SeriesReport:
    async def run() -> SeriesReport:
        settings = OkxSettings(base_url=simulator.base_url, attempts=attempts)
        async with OkxSource(settings, on_event=error_log.exchange_event) as source:
            wanted = Wanted(symbols=["BTC-USDT"], timeframes=[TIMEFRAMES["1m"]], since=START, until=END)
            (report,) = await Collector(source, PostgresOutput(storage)).run(wanted)
            return report

    return asyncio.run(run())


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    path = tmp_path / "chandlery.log"
    error_log.configure(LoggingSettings(format="json", file=path))
    return path


def events(path: Path) -> list[dict[str, object]]:
    logging.shutdown()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_failed_page_is_one_event_with_series_span_and_next_step(storage: PostgreSQLStorage, log_file: Path) -> None:
    with Simulator(SeededMarket(1, ["BTC-USDT"]), clock=FixedClock(END + HOUR_MS)).run_in_thread() as simulator:
        simulator.arm(FaultKind.HTTP_500, endpoint="candles", count=1)
        report = collect(simulator, storage, attempts=3)
    assert report.complete
    (event,) = [e for e in events(log_file) if e.get("span")]
    assert event["series"] == "BTC-USDT 1m"
    assert event["span"] == [START, END]
    assert event["attempt"] == 1
    assert event["failure_class"] == "ExchangeUnavailable"
    assert event["level"] == "warning"
    assert {"wait_s", "error", "next_step", "timestamp", "endpoint"} <= event.keys()


def test_status_shows_the_last_error_of_a_series_until_it_goes_well(
    storage: PostgreSQLStorage, log_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Simulator(SeededMarket(1, ["BTC-USDT"]), clock=FixedClock(END + HOUR_MS)).run_in_thread() as simulator:
        simulator.arm(FaultKind.HTTP_500, endpoint="candles", count=50)
        report = collect(simulator, storage, attempts=1)
        assert report.error is not None
        assert report.missing.length == END - START
        (row,) = series_status(storage, now=END)
        assert row.last_error == str(report.error)
        draw([row])
        assert "500" in capsys.readouterr().err
        simulator.disarm()
        assert collect(simulator, storage, attempts=1).complete
    (row,) = series_status(storage, now=END)
    assert row.last_error is None
    assert "series failed" in [e["event"] for e in events(log_file)]


def test_no_secret_reaches_the_log(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = ConnectionError(
        "lost postgresql://me:planted@host/db, password=planted", transient=True, kind="connection", sqlstate="57P01"
    )
    error_log.database_setback(Setback(error=error, attempt=1, wait_s=0.5, breaker_open=False))
    (event,) = events(log_file)
    assert event["sqlstate"] == "57P01"
    assert event["failure_class"] == "connection"
    written = log_file.read_text() + capsys.readouterr().err
    assert "planted" not in written
    assert "***" in written


def test_a_full_log_file_makes_room(tmp_path: Path) -> None:
    path = tmp_path / "chandlery.log"
    error_log.configure(LoggingSettings(file=path, file_bytes=10_000, file_count=2))
    for _ in range(100):
        error_log.series_failed(ValueError("x" * 300))
    assert {file.name for file in tmp_path.glob("*.log*")} == {"chandlery.log", "chandlery.log.1", "chandlery.log.2"}
    assert all(file.stat().st_size <= 10_000 for file in tmp_path.glob("*.log*"))
