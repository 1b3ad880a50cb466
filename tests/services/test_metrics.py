"""What is measured is what happened, and measuring waits for nobody."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from candles import START, candles, changed, series
from chandlery.domain.candle import CandleBatch
from chandlery.domain.span import Span
from chandlery.errors import ConfigurationError, RateLimited
from chandlery.exchange.okx.rest import OkxSource
from chandlery.exchange.okx.session import EventKind, ExchangeEvent
from chandlery.exchange.okx.settings import Endpoint, OkxSettings
from chandlery.services.metrics import database
from chandlery.services.metrics.database import DatabaseFigures, chosen_series
from chandlery.services.metrics.measured import Measured
from chandlery.services.metrics.measuring import measuring
from chandlery.services.opening import open_output
from chandlery.services.outputs import CsvOutput
from chandlery.services.seal import Sealer
from chandlery.settings import Settings, load_settings
from chandlery.storage.csv_files import CsvStore
from chandlery.storage.database import Database
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from processes import as_url
from promql import Sample, scraped, value

MINUTE = 60_000


def settings(url: str | None = None, **others: object) -> Settings:
    environ = {"CHANDLERY_DATABASE_URL": url} if url else {}
    return load_settings(environ=environ, overrides=others)


def read(registry: CollectorRegistry) -> list[Sample]:
    return scraped(generate_latest(registry).decode())


def delivery(batch: CandleBatch) -> Delivery:
    return Delivery(batch=batch, covered=batch.runs())


def save(storage: PostgreSQLStorage, *batches: CandleBatch) -> None:
    storage.writer.write([delivery(batch) for batch in batches])


@pytest.fixture
def measured(database_url: str) -> Measured:
    return Measured(settings(as_url(database_url)))


@pytest.fixture
def always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of the database is kept."""
    monkeypatch.setattr(database, "KEPT_S", 0.0)


def figures_of(conninfo: str, now: int = START) -> tuple[DatabaseFigures, CollectorRegistry]:
    registry = CollectorRegistry()
    figures = DatabaseFigures(Database(conninfo), chosen_series(Settings()), lambda: now)
    registry.register(figures)
    return figures, registry


def test_candles_are_counted_by_what_became_of_them(measured: Measured, database_url: str) -> None:
    batch = candles(series(), 60)
    config = settings(as_url(database_url))
    with open_output(config, measured) as output:
        output.save(delivery(batch))
        output.save(delivery(changed(batch, slice(3, 5))))
        for _ in output.roll_up(series(interval="5m"), series().timeframe, Span(START, START + 60 * MINUTE)):
            pass
        output.ended("complete", 2, output.finish(series()))
        samples = read(measured.registry)
    counts = {
        name: value(samples, "chandlery_candles_total", outcome=name) for name in ("stored", "derived", "revised")
    }
    assert counts == {"stored": 60, "derived": 12, "revised": 2}
    assert value(samples, "chandlery_candles_total", outcome="unchanged") == 58
    assert value(samples, "chandlery_write_seconds_count") == 2
    assert value(samples, "chandlery_runs_total", outcome="complete") == 1
    assert value(samples, "chandlery_last_run_timestamp_seconds", outcome="complete")


def test_candles_that_go_to_files_are_counted_too(measured: Measured, tmp_path: Path) -> None:
    output = measured.output(CsvOutput(CsvStore(tmp_path)))
    output.save(delivery(candles(series(), 60)))
    output.finish(series())
    assert value(read(measured.registry), "chandlery_candles_total", outcome="stored") == 60


def test_reads_tell_how_much_of_them_was_sealed(measured: Measured, storage: PostgreSQLStorage) -> None:
    save(storage, candles(series(interval="30m"), 62 * 48))
    sealer = Sealer(storage)
    [entry] = sealer.entries()
    sealer.seal(entry, before=START + 31 * 1440 * MINUTE)
    with measured.of_storage(storage):
        assert len(storage.get_candles("BTC-USDT", "30m")) == 62 * 48
        samples = read(measured.registry)
    assert value(samples, "chandlery_read_parts_total", tier="segment") == 1
    assert value(samples, "chandlery_read_parts_total", tier="rows") == 2, "before and after"
    assert value(samples, "chandlery_read_seconds_count") == 1
    assert value(samples, "chandlery_segments", timeframe="30m") == 1
    assert 0 < (value(samples, "chandlery_segment_bytes", timeframe="30m") or 0) < 31 * 48 * 40


def test_requests_count_by_outcome_and_a_wait_for_a_turn_is_no_request(measured: Measured) -> None:
    measured.of_source(OkxSource(OkxSettings()))
    limited = RateLimited("too many", code="50011")
    for kind, attempt, error in (
        (EventKind.RETRY, 1, limited),
        (EventKind.ANSWERED, 2, None),
        (EventKind.GAVE_UP, 0, limited),
        (EventKind.BREAKER_OPENED, 0, limited),
    ):
        measured.exchange_event(ExchangeEvent(kind=kind, endpoint=Endpoint.CANDLES, attempt=attempt, error=error))
    samples = read(measured.registry)
    outcomes = [
        value(samples, "chandlery_requests_total", endpoint="candles", outcome=o) for o in ("answered", "rate_limited")
    ]
    assert outcomes == [1, 1]
    assert value(samples, "chandlery_errors_total", of="exchange", **{"class": "rate_limited"}) == 2
    assert value(samples, "chandlery_requests_given_up_total", endpoint="candles") == 1
    assert value(samples, "chandlery_breaker_open", of="exchange") == 1
    assert value(samples, "chandlery_breaker_open", of="files") == 0


@pytest.mark.usefixtures("always_asked")
def test_figures_of_the_database_stay_while_it_is_away_and_the_lag_grows(
    storage: PostgreSQLStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(storage, candles(series(), 60))
    figures, registry = figures_of(storage.database.conninfo, now=START + 60 * MINUTE)
    samples = read(registry)
    assert value(samples, "chandlery_database_up") == 1
    assert value(samples, "chandlery_lag_bars", timeframe="1m") == 0
    assert (value(samples, "chandlery_table_bytes", timeframe="1m") or 0) > 60 * 64
    name = psycopg.conninfo.conninfo_to_dict(storage.database.conninfo)["dbname"]
    with psycopg.connect(storage.database.conninfo, dbname="postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]
    monkeypatch.setattr(figures, "_now", lambda: START + 90 * MINUTE)
    samples = read(registry)
    assert value(samples, "chandlery_database_up") == 0
    assert value(samples, "chandlery_lag_bars", timeframe="1m") == 30
    figures.close(look_again=False)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"host=127.0.0.1 port={listening.getsockname()[1]} dbname=d user=u connect_timeout=30"


@pytest.mark.usefixtures("always_asked")
def test_no_scrape_waits_for_a_database_that_says_nothing(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_WAIT_S", 0.01)
    figures, registry = figures_of(silent_server)
    for _ in range(3):
        assert value(read(registry), "chandlery_database_up") == 0
        asking = [thread for thread in threading.enumerate() if thread.name == "chandlery-metrics"]
        assert len(asking) == 1, "a second question while the first is open"
    figures.close(look_again=False)


def test_an_answer_is_good_for_a_while(storage: PostgreSQLStorage) -> None:
    figures, registry = figures_of(storage.database.conninfo)
    assert value(read(registry), "chandlery_series", timeframe="1m") is None
    save(storage, candles(series(), 60))
    assert value(read(registry), "chandlery_series", timeframe="1m") is None
    figures.close(look_again=True)
    assert value(read(registry), "chandlery_series", timeframe="1m") == 1


def test_only_the_series_that_are_collected_here_count(storage: PostgreSQLStorage, database_url: str) -> None:
    save(storage, *(candles(series(symbol, bar), 60) for symbol in ("BTC-USDT", "ETH-USDT") for bar in ("1m", "1h")))
    chosen = settings(as_url(database_url), **{"data_collection.symbols": "ETH-USDT"})
    one = Measured(chosen)
    with one.of_storage(storage):
        samples = read(one.registry)
    assert value(samples, "chandlery_series", timeframe="1m") == 1
    assert value(samples, "chandlery_worst_series_info", timeframe="1m", symbol="ETH-USDT") == 1
    assert value(samples, "chandlery_series", timeframe="1h") is None


def test_who_is_not_measured_loads_nothing_for_it() -> None:
    program = (
        "import sys; from chandlery.services.metrics.measuring import measuring\n"
        "from chandlery.settings import Settings\n"
        "with measuring(Settings()) as told: pass\n"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_file_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    wanted = settings(**{"metrics.file": str(tmp_path / "taken" / "c.prom")})
    with pytest.raises(ConfigurationError, match="cannot be written"), measuring(wanted):
        pass
