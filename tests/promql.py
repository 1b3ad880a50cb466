"""As much of PromQL as the dashboard and the alerts need: which metrics they name, and with which labels."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_SELECTOR = re.compile(r"\b((?:chandlery|process)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|=)\s*"([^"]*)"')
_GROUPED = re.compile(r"\bby \(([^)]*)\)")
ADDED_BY_PROMETHEUS = {"instance": "host:1", "job": "chandlery"}
"""Labels that no process has, because Prometheus itself adds them to what it scrapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One line of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


def scraped(text: str) -> list[Sample]:
    """The samples of a scrape, as they would be in Prometheus."""
    samples = [
        Sample(name=sample.name, labels=dict(sample.labels) | ADDED_BY_PROMETHEUS, value=sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    return [*samples, Sample(name="up", labels=ADDED_BY_PROMETHEUS, value=1.0)]


def scrape(port: int, host: str = "127.0.0.1") -> list[Sample]:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
        return scraped(answer.read().decode())


def value(samples: Iterable[Sample], name: str, **labels: str) -> float | None:
    """The value of the one sample with these labels; None if there is none."""
    found = [one.value for one in samples if one.name == name and labels.items() <= dict(one.labels).items()]
    assert len(found) < 2, f"{name} is ambiguous"
    return found[0] if found else None


def without_data(query: str, samples: Iterable[Sample]) -> list[str]:
    """What a query names that no sample has: selectors that find nothing, labels to group by."""
    samples, missing, labels = list(samples), [], set()
    for name, matchers in _SELECTOR.findall(query):
        found = [one for one in samples if one.name == name and _matches(one.labels, matchers)]
        labels |= {label for one in found for label in one.labels}
        if not found:
            missing.append(f"{name}{{{matchers}}}")
    grouped = {label.strip() for group in _GROUPED.findall(query) for label in group.split(",")}
    return missing + sorted(grouped - labels)


def _matches(labels: Mapping[str, str], matchers: str) -> bool:
    return all(
        labels.get(name, "") == wanted if operator == "=" else re.fullmatch(wanted, labels.get(name, ""))
        for name, operator, wanted in _MATCHER.findall(matchers)
    )
