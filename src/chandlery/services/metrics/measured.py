"""Counting what a process does, in a registry of its own. Everything here may be called from any thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from chandlery.errors import BadPage, ExchangeError, ExchangeUnavailable, RateLimited, RequestRefused
from chandlery.exchange.okx.session import EventKind, ExchangeEvent
from chandlery.exchange.okx.settings import Endpoint
from chandlery.services.metrics import catalogue
from chandlery.services.metrics.catalogue import Metric
from chandlery.services.metrics.measuring import Unmeasured
from chandlery.storage.failures import FailureClass

if TYPE_CHECKING:
    from chandlery.domain.timeframe import UtcMs
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services.live.recorder import Recorder
    from chandlery.services.live.store import LiveStore
    from chandlery.services.outputs import Output
    from chandlery.settings import Settings
    from chandlery.storage.postgres import PostgreSQLStorage
    from chandlery.storage.reader import ReadDone
    from chandlery.storage.resilience import Setback
    from chandlery.storage.writer import SaveResult

_FAILURES: dict[type[ExchangeError], str] = {
    RateLimited: "rate_limited",
    ExchangeUnavailable: "unavailable",
    RequestRefused: "refused",
    BadPage: "bad_page",
}
_OTHER = "other"
_OUTCOMES = ("stored", "derived", "unchanged", "revised", "rejected")
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Measured(Unmeasured):
    """Counts, and passes on to the error log what belongs there."""

    def __init__(self, settings: Settings) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._settings = settings
        self._source: OkxSource | None = None
        ProcessCollector(registry=self.registry)
        self._gauge(catalogue.BUILD).labels(version("chandlery")).set(1)
        self._candles = self._counter(catalogue.CANDLES, _OUTCOMES)
        self._write_seconds = self._histogram(catalogue.WRITE_SECONDS)
        self._last_commit = self._gauge(catalogue.LAST_COMMIT)
        self._errors = self._counter(catalogue.ERRORS)
        self._breaker = self._gauge(catalogue.BREAKER_OPEN)

    def exchange_event(self, event: ExchangeEvent) -> None:
        """Count a request by its outcome, and a failure by its class."""
        super().exchange_event(event)
        endpoint = label_of(event.endpoint)
        outcome = "answered" if event.error is None else _class_of(event.error)
        if event.kind in (EventKind.BREAKER_OPENED, EventKind.BREAKER_CLOSED):
            self._breaker.labels(_host_of(event.endpoint)).set(event.kind is EventKind.BREAKER_OPENED)
            return
        if event.attempt:  # else it is one that waited for its turn in vain
            self._requests.labels(endpoint, outcome).inc()
        if event.error is not None:
            self._errors.labels("exchange", outcome).inc()
        if event.kind is EventKind.GAVE_UP:
            self._given_up.labels(endpoint).inc()

    def database_setback(self, setback: Setback) -> None:
        """Count a failure by its class."""
        super().database_setback(setback)
        self._errors.labels("database", setback.error.kind or _OTHER).inc()

    def of_source(self, source: OkxSource) -> None:
        """Count its requests and its waits."""
        from chandlery.services.metrics.scrape import SourceFigures

        self._source = source
        endpoints = [label_of(endpoint) for endpoint in Endpoint]
        classes = [*_FAILURES.values(), _OTHER]
        self._requests = self._counter(catalogue.REQUESTS, endpoints, ["answered", *classes])
        self._given_up = self._counter(catalogue.GIVEN_UP, endpoints)
        for name in classes:
            self._errors.labels("exchange", name)
        for host in ("exchange", "files"):
            self._breaker.labels(host)
        self.registry.register(SourceFigures(source))

    @contextlib.contextmanager
    def of_storage(self, storage: PostgreSQLStorage) -> Iterator[None]:
        """Watch its pool, breaker and reads, and ask it for what is stored; at the end a last time for the file."""
        from chandlery.services.metrics.database import DatabaseFigures, chosen_series
        from chandlery.services.metrics.scrape import PoolFigures

        for name in (*FailureClass, _OTHER):
            self._errors.labels("database", str(name))
        self._breaker.labels("database").set_function(
            lambda: storage.database.persistence.breaker.failing_since is not None
        )
        self._read_seconds = self._histogram(catalogue.READ_SECONDS)
        self._read_parts = self._counter(catalogue.READ_PARTS, ("segment", "rows"))
        storage.reader.on_read = self._read
        self.registry.register(PoolFigures(storage.database))
        figures = DatabaseFigures(storage.database, chosen_series(self._settings), self._now)
        self.registry.register(figures)
        try:
            yield
        finally:
            figures.close(look_again=self._settings.metrics.file is not None)

    def of_recorder(self, recorder: Recorder) -> None:
        """Watch a stream: how long candles take to their commit, and what was lost and healed."""
        from chandlery.services.metrics.scrape import StreamFigures

        seconds = self._histogram(catalogue.STREAM_SECONDS)

        def committed(latencies_s: Sequence[float]) -> None:
            for latency_s in latencies_s:
                seconds.observe(latency_s)

        recorder.time(committed)
        self.registry.register(StreamFigures(recorder.progress))

    def output(self, output: Output) -> Output:
        """The same output, measured."""
        from chandlery.services.metrics.outputs import MeasuredOutput

        self._runs = self._counter(catalogue.RUNS, ("complete", "incomplete", "interrupted"))
        self._last_run = self._gauge(catalogue.LAST_RUN)
        return MeasuredOutput(output, self)

    def live_store(self, store: LiveStore) -> LiveStore:
        """The same store, measured."""
        from chandlery.services.metrics.outputs import MeasuredStore

        return MeasuredStore(store, self)

    def wrote(self, result: SaveResult, seconds: float | None = None, *, derived: bool = False) -> None:
        """So much was stored; ``seconds`` is how long it took, None where it was several steps of a longer work."""
        counts = (result.inserted, result.unchanged, result.revised, result.rejected)
        names = ("derived" if derived else "stored", "unchanged", "revised", "rejected")
        for name, count in zip(names, counts, strict=True):
            self._candles.labels(name).inc(count)
        if seconds is not None:
            self._write_seconds.observe(seconds)
        if result.stored:
            self._last_commit.set(time.time())

    def ended(self, outcome: str) -> None:
        """A collection, or a round, is over."""
        self._runs.labels(outcome).inc()
        self._last_run.labels(outcome).set(time.time())

    def _now(self) -> UtcMs:
        """By the exchange's clock, as it was last measured, for that one closes candles."""
        offset_s = self._source.clock_offset_s if self._source is not None else 0.0
        return int((time.time() + offset_s) * 1000)

    def _read(self, done: ReadDone) -> None:
        self._read_seconds.observe(done.seconds)
        self._read_parts.labels("segment").inc(done.segments)
        self._read_parts.labels("rows").inc(done.row_parts)

    def _counter(self, metric: Metric, *values: Sequence[str]) -> Counter:
        """A counter, whose samples with these values of its labels are there from the beginning."""
        made = Counter(metric.name, metric.meaning, metric.labels, registry=self.registry)
        if len(values) == 1:
            for value in values[0]:
                made.labels(value)
        elif values:
            for first in values[0]:
                for second in values[1]:
                    made.labels(first, second)
        return made

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.meaning, metric.labels, registry=self.registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.meaning, registry=self.registry, buckets=_BUCKETS_S)


def label_of(endpoint: Endpoint) -> str:
    """An endpoint's name as a label, such as ``history_candles``."""
    return endpoint.name.lower()


def _host_of(endpoint: Endpoint) -> str:
    return "files" if endpoint in (Endpoint.FILES, Endpoint.FILE_LISTING) else "exchange"


def _class_of(error: ExchangeError) -> str:
    return _FAILURES.get(type(error), _OTHER)
