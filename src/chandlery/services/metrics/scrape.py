"""Figures that others keep anyway, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from chandlery.exchange.okx.settings import Endpoint
from chandlery.services.metrics import catalogue
from chandlery.services.metrics.catalogue import Kind, Metric

if TYPE_CHECKING:
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services.live.state import LiveProgress
    from chandlery.storage.database import Database

Samples = Iterable[tuple[tuple[str, ...], float]]


def family(metric: Metric, samples: Samples) -> Family:
    """The samples of a metric, each with the values of its labels."""
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    made: Family = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in samples:
        made.add_metric(labels, value)  # type: ignore[attr-defined]
    return made


def single(metric: Metric, value: float) -> Family:
    """A metric without labels."""
    return family(metric, [((), value)])


class SourceFigures(Collector):
    """How long each line of an exchange's client stood at its limit."""

    def __init__(self, source: OkxSource) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        """As counted by the client."""
        waits = self._source.waits_s
        yield family(catalogue.LIMIT_WAIT, [((endpoint.name.lower(),), waits[endpoint]) for endpoint in Endpoint])


class PoolFigures(Collector):
    """The connections of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Family]:
        """As the pool tells."""
        stats = self._database.pool_stats()
        idle = stats["pool_available"]
        yield family(catalogue.POOL, [(("used",), stats["pool_size"] - idle), (("idle",), idle)])
        yield single(catalogue.POOL_MOST, stats["pool_max"])
        yield single(catalogue.POOL_WAITING, stats["requests_waiting"])


class StreamFigures(Collector):
    """A stream that is recorded."""

    def __init__(self, progress: LiveProgress) -> None:
        self._progress = progress

    def collect(self) -> Iterator[Family]:
        """As its progress tells."""
        progress = self._progress
        tails = list(progress.tails.values())
        pushed = sum(tail.pushed for tail in tails)
        yield family(catalogue.STREAM_SERIES, [(("pushed",), pushed), (("lost",), len(tails) - pushed)])
        yield single(catalogue.STREAM_GAPS, sum(bool(tail.missing(progress.now)) for tail in tails))
        yield single(catalogue.STREAM_WAITING, progress.waiting)
        yield single(catalogue.STREAM_LOSSES, progress.losses)
        yield single(catalogue.STREAM_HEALED, progress.healed)
        yield single(catalogue.STREAM_UNREADABLE, progress.unreadable)
        yield single(catalogue.STREAM_UNSTORED, progress.unstored)
