"""Every metric: its name, kind, labels and meaning. docs/metrics.md has the same list, and a test compares the two.

Labels are few and closed: timeframes, endpoints, classes of failures. No symbol is a label, so that the number of time
series does not grow with the number of instruments; the one exception names a single series a timeframe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What may be done with the numbers, in the words of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; ``labels`` are in order."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=f"chandlery_{name}_total", kind=Kind.COUNTER, meaning=meaning, labels=labels)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=f"chandlery_{name}", kind=Kind.GAUGE, meaning=meaning, labels=labels)


def _histogram(name: str, meaning: str) -> Metric:
    return Metric(name=f"chandlery_{name}_seconds", kind=Kind.HISTOGRAM, meaning=meaning)


BUILD = _gauge("build_info", "Always 1; the label is the version that runs.", "version")

CANDLES = _counter(
    "candles",
    "Candles handed to the store: stored (new), derived (new, made of finer ones), unchanged, revised, rejected.",
    "outcome",
)
WRITE_SECONDS = _histogram("write", "From handing a page or batch to the store to its commit, waits included.")
READ_SECONDS = _histogram("read", "One read of candles, from the question to columns in memory.")
READ_PARTS = _counter("read_parts", "What reads were put together of: sealed segments, or rows.", "tier")
LAST_COMMIT = _gauge("last_commit_timestamp_seconds", "When candles were last committed, seconds since 1970.")
RUNS = _counter("runs", "Collections, or rounds of --follow, that ended: complete, incomplete, interrupted.", "outcome")
LAST_RUN = _gauge("last_run_timestamp_seconds", "When a collection last ended, seconds since 1970.", "outcome")

REQUESTS = _counter(
    "requests",
    "Requests to the exchange by how they came out: answered, or the class of the failure.",
    "endpoint",
    "outcome",
)
GIVEN_UP = _counter("requests_given_up", "Requests that are not tried again in this run.", "endpoint")
LIMIT_WAIT = _counter("limit_wait_seconds", "How long the line of an endpoint stood at its rate limit.", "endpoint")
ERRORS = _counter("errors", "Failures, those that were waited out too, of the exchange or the database.", "of", "class")
BREAKER_OPEN = _gauge("breaker_open", "1 while the circuit breaker keeps requests back, else 0.", "of")

POOL = _gauge("pool_connections", "Connections of the pool that are used or idle now.", "state")
POOL_MOST = _gauge("pool_connections_max", "How many connections the pool may have.")
POOL_WAITING = _gauge("pool_waiting", "Callers that wait for a connection now.")

DATABASE_UP = _gauge("database_up", "1 if the database answered the last question of the metrics, else 0.")
DATABASE_AGE = _gauge("database_figures_age_seconds", "How old the figures are that come from the database.")
SERIES = _gauge("series", "Series in the ledger.", "timeframe")
LAG_SECONDS = _gauge(
    "lag_seconds", "How long ago the last covered bar closed, of the series that lags most.", "timeframe"
)
LAG_BARS = _gauge("lag_bars", "Closed bars that are not covered yet, of the series that lags most.", "timeframe")
GAPS = _gauge("gaps", "Uncovered spans between covered ones, all series together.", "timeframe")
COVERAGE = _gauge("coverage_ratio", "Covered share, 0 to 1, from the beginning to the last covered bar.", "timeframe")
WORST = _gauge(
    "worst_series_info", "Always 1; names the series with most lag, then most gaps.", "timeframe", "exchange", "symbol"
)
TABLE_BYTES = _gauge("table_bytes", "Size of the rows in the table of a timeframe.", "timeframe")
INDEX_BYTES = _gauge("index_bytes", "Size of its keys.", "timeframe")
SEGMENT_BYTES = _gauge("segment_bytes", "Size of the sealed segments of a timeframe.", "timeframe")
SEGMENTS = _gauge("segments", "How many sealed segments there are.", "timeframe")

STREAM_SECONDS = _histogram("stream_commit", "From the arrival of a confirmed candle to its commit.")
STREAM_SERIES = _gauge("stream_series", "Series of the stream that are pushed now, or lost.", "state")
STREAM_GAPS = _gauge("stream_gaps", "Series with a closed bar that is not stored yet.")
STREAM_WAITING = _gauge("stream_waiting", "Pushed candles that wait for the database now.")
STREAM_LOSSES = _counter("stream_losses", "Connections of the stream that were lost.")
STREAM_HEALED = _counter("stream_healed", "Candles that the stream did not deliver and REST did.")
STREAM_UNREADABLE = _counter("stream_unreadable", "Messages of the stream that were passed over.")
STREAM_UNSTORED = _counter("stream_unstored", "Pushed candles for which there was no room; they are healed later.")

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in this order."""
