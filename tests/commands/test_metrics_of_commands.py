"""Running commands tell Prometheus how they do: every metric of the list, and all that dashboard and alerts ask for."""

from __future__ import annotations

import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from market import MIDNIGHT, MINUTE, series, wait_until

from candles import candles
from chandlery.services.metrics.catalogue import METRICS, Kind
from chandlery.simulator import RunningClock, SeededMarket, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery
from conftest import UNHURRIED
from deployment.deployed import queries
from processes import Shell, as_url
from promql import Sample, scrape, scraped, value, without_data


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    """A market whose minutes last three seconds."""
    with Simulator(SeededMarket(3), clock=RunningClock(MIDNIGHT + MINUTE // 2, 20.0)).run_in_thread() as simulator:
        yield simulator


@pytest.fixture
def shell(database_url: str, exchange: Simulator, tmp_path: Path) -> Shell:
    variables = {
        "CHANDLERY_DATABASE_URL": as_url(database_url),
        "CHANDLERY_DATA_COLLECTION_BASE_URL": exchange.base_url,
        "CHANDLERY_DATA_COLLECTION_BULK": "never",
        **UNHURRIED,
    }
    return Shell(folder=tmp_path, variables=variables)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def store_an_hour(storage: PostgreSQLStorage) -> None:
    batch = candles(series("BTC-USDT"), 60)
    storage.writer.write([Delivery(batch=batch, covered=batch.runs())])


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def scrape_if_up(port: int) -> list[Sample]:
    try:
        return scrape(port)
    except urllib.error.URLError:
        return []


def test_a_stream_and_a_collector_have_every_metric_and_answer_every_query(
    shell: Shell, storage: PostgreSQLStorage
) -> None:
    ports = free_port(), free_port()
    since = ("--since", "2024-02-29T20:00")
    running = [
        shell.start("stream", "BTC-USDT", "--metrics-port", ports[0]),
        shell.start("collect", "BTC-USDT", "-t", "1m,5m", *since, "--follow", "2s", "--metrics-port", ports[1]),
    ]
    samples: list[Sample] = []

    def have_all_worked() -> bool:
        pushing, collecting = (scrape_if_up(port) for port in ports)
        samples[:] = pushing + collecting
        return bool(
            value(pushing, "chandlery_stream_commit_seconds_count")
            and value(pushing, "chandlery_series", timeframe="1m")
            and value(collecting, "chandlery_runs_total", outcome="complete")
        )

    # the first scrape asks the database, whose answer is kept for a while: it must find something
    wait_until(lambda: all(storage.ledger.covered(series("BTC-USDT", bar)) for bar in ("1m", "5m")))
    wait_until(have_all_worked)
    for process in running:
        assert process.interrupt(signal.SIGTERM).code == 0

    names = {sample.name for sample in samples}
    for metric in METRICS:
        shown = f"{metric.name}_count" if metric.kind is Kind.HISTOGRAM else metric.name
        assert shown in names, f"{metric.name} is in the list, but nobody has it"
        [labels] = {tuple(sorted(set(one.labels) - {"instance", "job"})) for one in samples if one.name == shown}
        assert labels == tuple(sorted(metric.labels))
    own = {name for name in names if name.startswith("chandlery_")}
    known = {metric.name for metric in METRICS}
    assert {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name in own} == known
    for title, query in queries():
        assert not without_data(query, samples), f"{title} asks for what nobody has"


def test_a_run_that_ends_leaves_its_metrics_in_a_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "node_exporter" / "chandlery.prom"
    done = shell.run("collect", "BTC-USDT", "--since", "2024-02-29T23:00", "--until", "2024-03-01T00:00:00Z",
                     "--metrics-file", file)  # fmt: skip
    assert done.code == 0, done.text
    samples = scraped(file.read_text())
    assert value(samples, "chandlery_candles_total", outcome="stored") == 60
    assert value(samples, "chandlery_series", timeframe="1m") == 1
    assert value(samples, "chandlery_coverage_ratio", timeframe="1m") == 1
    assert value(samples, "chandlery_runs_total", outcome="complete") == 1
    assert [path.name for path in file.parent.iterdir()] == [file.name], "something was left beside it"


def test_the_browser_s_server_tells_of_its_reads(shell: Shell, storage: PostgreSQLStorage) -> None:
    store_an_hour(storage)
    pages, port = free_port(), free_port()
    serving = shell.start("serve", "--port", pages, "--metrics-port", port)
    wait_until(lambda: bool(scrape_if_up(port)))
    asked = f"http://127.0.0.1:{pages}/api/candles?exchange=okx-simulated&symbol=BTC-USDT&timeframe=1m"
    wait_until(lambda: answers(asked))
    samples = scrape(port)
    assert (value(samples, "chandlery_read_seconds_count") or 0) >= 1
    assert value(samples, "chandlery_series", timeframe="1m") == 1
    assert serving.interrupt(signal.SIGTERM).code == 0


def test_a_port_that_is_taken_ends_the_command_before_it_begins(shell: Shell, exchange: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = shell.run("stream", "BTC-USDT", "--metrics-port", listening.getsockname()[1])
    assert done.code == 2
    assert "Choose another --metrics-port" in done.err
    assert not exchange.journal.requests


def test_status_is_shown_again_and_again_until_it_is_stopped(shell: Shell, storage: PostgreSQLStorage) -> None:
    store_an_hour(storage)
    watching = shell.start("status", "--watch", "--every", "1", "--json")
    assert watching.process.stdout is not None
    shown = [watching.process.stdout.readline() for _ in range(2)]
    assert all('"symbol": "BTC-USDT"' in line for line in shown)
    stopped = watching.interrupt(signal.SIGINT)
    assert stopped.code == 0, stopped.text
    assert "Traceback" not in stopped.err
