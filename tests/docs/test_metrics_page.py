"""docs/metrics.md lists every metric as the program has it."""

from __future__ import annotations

import re
from pathlib import Path

from chandlery.services.metrics.catalogue import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_has_every_metric_with_its_type_labels_and_meaning() -> None:
    rows = re.findall(r"^\| `(chandlery_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    listed = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows]
    assert listed == [(metric.name, str(metric.kind), metric.labels, metric.meaning) for metric in METRICS]
