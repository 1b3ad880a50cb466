"""The files that a deployment is made of, as data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def read_yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def alerts() -> list[dict[str, Any]]:
    [group] = read_yaml("prometheus/alerts.yml")["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/chandlery.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Every query with the name of its panel or alert: of an alert the value that it compares with a number."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
    for rule in alerts():
        compared = re.fullmatch(r"(.*) (?:==|<|>) [0-9.]+", rule["expr"])
        assert compared, f"{rule['alert']} is not VALUE COMPARISON NUMBER"
        yield rule["alert"], compared[1]
