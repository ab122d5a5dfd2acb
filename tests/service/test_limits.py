"""Requests that are too large are refused with the limit, at the same place for every way in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

PATIENCE = 300.0
LIMITS = {
    "max_body_bytes": 2000,
    "max_batch_bytes": 5000,
    "max_passages": 3,
    "max_characters": 100,
    "max_query_characters": 20,
}


@pytest.fixture(scope="module")
def small(start_server: Any) -> Iterator[httpx.Client]:
    """A client of a server with small limits."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in LIMITS.items()]
    with start_server(*flags) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client


def field(small: httpx.Client, query: str, passages: list[Any]) -> tuple[int, str, str]:
    """Return the status of a request, and the field and the problem that the answer names."""
    response = small.post("/v1/prune", json={"query": query, "passages": passages})
    (error,) = response.json().get("errors", [{"field": "", "problem": ""}])
    return response.status_code, error["field"], error["problem"]


def test_passages_characters_and_query_are_counted(small: httpx.Client) -> None:
    assert field(small, "q" * 20, ["a"] * 3)[0] == 200
    assert field(small, "q" * 21, ["a"]) == (422, "query", "has 21 characters, and 20 are allowed")
    assert field(small, "q", ["a"] * 4) == (422, "passages", "are 4, and 3 are allowed")
    assert field(small, "q", ["a" * 50, "b" * 50])[0] == 200
    said = "have 101 characters together, and 100 are allowed"
    assert field(small, "q", ["a" * 50, "b" * 51]) == (422, "passages", said)
    assert field(small, "q", [{"text": "a" * 50, "title": "b" * 51}]) == (422, "passages", said)


def test_characters_are_code_points_and_not_bytes(small: httpx.Client) -> None:
    assert field(small, "\U0001f600" * 20, ["é" * 100])[0] == 200


def test_each_line_of_a_batch_has_the_limits(small: httpx.Client) -> None:
    lines = [{"query": "q", "passages": ["a"] * count} for count in (3, 4, 1)]
    response = small.post("/v1/prune/batch", content="\n".join(map(json.dumps, lines)))
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer.get("error", {}).get("status") for answer in answers] == [None, 422, None]
    assert answers[1]["error"]["errors"][0]["field"] == "passages"


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize(("path", "limit"), [("/v1/prune", 2000), ("/v1/prune/batch", 5000)])
def test_a_body_is_refused_by_its_bytes(small: httpx.Client, path: str, limit: int, chunked: bool) -> None:
    def post(size: int) -> httpx.Response:
        body = json.dumps({"query": "q", "passages": ["a"]}).encode().ljust(size)
        return small.post(path, content=iter([body[:1000], body[1000:]]) if chunked else body)

    assert post(limit).status_code == 200
    refused = post(limit + 1)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert f"more than {limit} bytes" in refused.json()["detail"]


def test_the_refusals_are_counted(small: httpx.Client) -> None:
    text = small.get("/metrics").text
    assert 'secateur_failures_total{kind="too_large"}' in text
    assert 'secateur_failures_total{kind="invalid"}' in text
    assert 'secateur_requests_total{route="/v1/prune",status="422"}' in text
