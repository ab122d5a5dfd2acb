"""A server shows the metrics that the documentation lists and the dashboard asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

PATIENCE = 300.0
ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/grafana/secateur.json"
GOOD = {"query": "When was it finished?", "passages": ["It was finished in 1889. Bread needs flour."], "threshold": 0.5}


@pytest.fixture(scope="module")
def shown(start_server: Any) -> Iterator[str]:
    """What `/metrics` shows after an answer and a failure, with a cache."""
    with start_server("--cache", "memory") as server:
        assert httpx.post(f"{server.url}/v1/prune", json=GOOD, timeout=PATIENCE).status_code == 200
        assert httpx.post(f"{server.url}/v1/prune", json={}, timeout=PATIENCE).status_code == 422
        response = httpx.get(f"{server.url}/metrics", timeout=PATIENCE)
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        yield response.text


def names(shown: str) -> set[str]:
    """Return the metrics by the names that PromQL has for them."""
    families = text_string_to_metric_families(shown)
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


@pytest.mark.slow
def test_the_numbers_are_those_of_the_requests(shown: str) -> None:
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(shown)
        for sample in family.samples
    }
    model = ("model", "secateur-nano-en")
    assert samples["secateur_requests_total", (("route", "/v1/prune"), ("status", "200"))] == 1
    assert samples["secateur_requests_total", (("route", "/v1/prune"), ("status", "422"))] == 1
    assert samples["secateur_failures_total", (("kind", "invalid"),)] == 1
    assert samples["secateur_queue_tokens", (model,)] == 0
    assert samples["secateur_cache_lookups_total", (model, ("result", "miss"))] == 1
    assert samples["secateur_batch_tokens_count", (model,)] == 1
    for stage in ("queue", "tokenize", "inference", "total"):
        assert samples["secateur_duration_seconds_count", (model, ("stage", stage))] == 1


def test_the_documentation_lists_them_all_with_their_labels(shown: str) -> None:
    section = (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("## Metrics")[2].partition("\n## ")[0]
    listed = dict(re.findall(r"^\| `(secateur_\w+)` \| (.*?) \|", section, re.M))
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(shown):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    assert {name: set(re.findall(r"`(\w+)`", given)) for name, given in listed.items()} == labels


def test_the_dashboard_asks_for_what_there_is(shown: str) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for expression in expressions for name in re.findall(r"secateur_\w+", expression)}
    series = {sample.name for family in text_string_to_metric_families(shown) for sample in family.samples}
    assert asked <= series
    # Every metric has a panel.
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} == names(shown)
    bounds = {label for expression in expressions for label in re.findall(r'le="([^"]+)"', expression)}
    assert all(re.search(rf'secateur_duration_seconds_bucket{{le="{re.escape(bound)}"', shown) for bound in bounds)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert {name for text in expressions for name in re.findall(r"\$([a-z]+)", text)} <= variables
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
