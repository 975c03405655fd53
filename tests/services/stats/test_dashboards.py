"""The dashboards in the tree show what is there: every metric that they name is one that is written."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from services.stats import metrics
from services.stats.metrics import TABLE, Kind, Metric

FOLDER = Path(metrics.__file__).parent / "dashboards"
FILLED = {"operation": ("timeline", "follower", "analyzer", "update"), "what": ("pages", "records", "jobs")}


def written(metric: Metric) -> list[str]:
    """Names under which a metric is written."""
    names = [metric.name]
    for label in metric.labels:
        values = FILLED.get(label, ("anything",))
        names = [name.replace(f"{{{label}}}", value) for name in names for value in values]
    return names


WRITTEN = [name for metric in TABLE for name in written(metric)]


def loaded(name: str) -> dict[str, Any]:
    document = json.loads((FOLDER / name).read_text())
    assert isinstance(document, dict)
    return document


def grafana_targets(name: str, key: str) -> list[str]:
    panels = loaded(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 10
    assert all(panel["targets"] and panel["title"] and panel["description"] for panel in panels)
    return [target[key] for panel in panels for target in panel["targets"]]


def graphite_targets() -> list[str]:
    graphs = loaded("graphite.json")["graphs"]
    for _, parameters, url in graphs:
        assert parse_qs(urlsplit(url).query)["target"] == parameters["target"]
    return [target for _, parameters, _ in graphs for target in parameters["target"]]


def paths(target: str) -> list[str]:
    """The patterns of metrics in a target of Graphite."""
    bare = re.sub(r"'[^']*'", "", target)
    return [word for word in re.findall(r"[A-Za-z0-9_*.{}-]+", bare) if "." in word]


@pytest.mark.parametrize("target", [*grafana_targets("grafana-graphite.json", "target"), *graphite_targets()])
def test_graphite_finds_what_a_dashboard_asks_for(target: str) -> None:
    assert target.count("(") == target.count(")")
    assert paths(target)
    for path in paths(target):
        parts = path.split(".")
        found = [name for name in WRITTEN if len(name.split(".")) == len(parts) and fnmatch(name, path)]
        assert found, path


@pytest.mark.parametrize("expression", grafana_targets("grafana-prometheus.json", "expr"))
def test_prometheus_has_what_a_dashboard_asks_for(expression: str) -> None:
    by_name = {row.scraped + ("_total" if row.kind is Kind.COUNTER else ""): row for row in TABLE}
    asked = re.findall(r"tmatic_\w+", expression)
    assert asked
    for name in asked:
        assert name in by_name
    labels = {label for name in asked for label in by_name[name].labels}
    for used in [*re.findall(r"by \((\w+)\)", expression), *re.findall(r"(\w+)=", expression)]:
        assert used in labels


def test_no_two_metrics_have_one_name() -> None:
    assert len({row.name for row in TABLE}) == len({row.scraped for row in TABLE}) == len(TABLE)
