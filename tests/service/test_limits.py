"""Requests that are too large are refused with the limit, at the same place for every way in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

PATIENCE = 300.0
NDJSON = {"Content-Type": "application/x-ndjson"}
LIMITS = {
    "max_body_bytes": 2000,
    "max_batch_bytes": 5000,
    "max_passages": 3,
    "max_characters": 100,
    "max_query_characters": 20,
    "max_returned_units": 10,
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
    assert field(small, "q" * 21, ["a"]) == (422, "query", "21 characters exceed the limit of 20")
    assert field(small, "q", ["a"] * 4) == (422, "passages", "4 items exceed the limit of 3")
    assert field(small, "q", ["a" * 50, "b" * 50])[0] == 200
    said = "101 characters exceed the limit of 100"
    assert field(small, "q", ["a" * 50, "b" * 51]) == (422, "passages", said)
    assert field(small, "q", [{"text": "a" * 50, "title": "b" * 51}]) == (422, "passages", said)


def asked(small: httpx.Client, path: str = "/v1/prune", **body: Any) -> tuple[int, str]:
    """Return the status of a request, and the field that the answer names."""
    response = small.post(path, json={"query": "q", **body})
    (error,) = response.json().get("errors", [{"field": ""}])
    return response.status_code, error["field"]


def test_units_are_counted_where_they_come_back(small: httpx.Client) -> None:
    ten, eleven = ["a\x0c" * 5] * 2, ["a\x0c" * 5, "a\x0c" * 6]
    assert asked(small, passages=ten, return_units=True) == (200, "")
    assert asked(small, passages=eleven, return_units=True) == (422, "return_units")
    assert asked(small, passages=eleven) == (200, "")
    assert asked(small, passages=eleven, return_units=True, top_n=1) == (200, "")  # one passage comes back
    spans = {"mode": "enabled"}
    assert asked(small, "/v2/rerank", documents=ten, relevant_spans=spans) == (200, "")
    assert asked(small, "/v2/rerank", documents=eleven, relevant_spans=spans) == (422, "relevant_spans")
    assert asked(small, "/v1/rerank", documents=eleven, return_documents=True) == (200, "")


def test_joiners_are_counted_by_the_gaps_that_there_may_be(small: httpx.Client) -> None:
    """All together they may be as long as all passages."""
    assert asked(small, passages=["a\x0c" * 11], joiner="j" * 20) == (200, "")
    assert asked(small, passages=["a\x0c" * 11], joiner="j" * 21) == (422, "joiner")
    assert asked(small, passages=["a\x0c" * 11] * 2, joiner="j" * 11) == (422, "joiner")
    assert asked(small, passages=["a\x0c" * 2, "", "a"], joiner="j" * 1000) == (200, "")  # no passage can have a gap
    assert asked(small, passages=["a"], joiner="j" * 1001) == (422, "joiner")


def test_markers_are_counted_with_a_joiner_on_both_sides(small: httpx.Client) -> None:
    assert asked(small, passages=["a\x0c" * 11], gap_marker="m" * 18) == (200, "")
    assert asked(small, passages=["a\x0c" * 11], gap_marker="m" * 19) == (422, "gap_marker")
    assert asked(small, passages=["a\x0c" * 11], gap_marker="m" * 8, joiner="j" * 6) == (200, "")
    assert asked(small, passages=["a\x0c" * 11], gap_marker="m" * 15, gap_marker_ends=True) == (422, "gap_marker")


def test_characters_are_code_points_and_not_bytes(small: httpx.Client) -> None:
    assert field(small, "\U0001f600" * 20, ["é" * 100])[0] == 200


def test_each_line_of_a_batch_has_the_limits(small: httpx.Client) -> None:
    lines = [{"query": "q", "passages": ["a"] * count} for count in (3, 4, 1)]
    response = small.post("/v1/prune/batch", content="\n".join(map(json.dumps, lines)), headers=NDJSON)
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer.get("error", {}).get("status") for answer in answers] == [None, 422, None]
    assert answers[1]["error"]["errors"][0]["field"] == "passages"


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize(("path", "limit"), [("/v1/prune", 2000), ("/v1/prune/batch", 5000)])
def test_a_body_is_refused_by_its_bytes(small: httpx.Client, path: str, limit: int, chunked: bool) -> None:
    def post(size: int) -> httpx.Response:
        body = json.dumps({"query": "q", "passages": ["a"]}).encode().ljust(size)
        headers = NDJSON if path.endswith("batch") else {"Content-Type": "application/json"}
        return small.post(path, content=iter([body[:1000], body[1000:]]) if chunked else body, headers=headers)

    assert post(limit).status_code == 200
    refused = post(limit + 1)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert str(limit) in refused.json()["detail"]


def test_the_refusals_are_counted(small: httpx.Client) -> None:
    text = small.get("/metrics").text
    assert 'secateur_failures_total{kind="too_large"}' in text
    assert 'secateur_failures_total{kind="invalid"}' in text
    assert 'secateur_requests_total{route="/v1/prune",status="422"}' in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        pytest.param({"query": "q", "passages": ["a"] * 500_000}, "passages", "500000 items", id="passages"),
        pytest.param({"query": "q", "documents": ["a"] * 500_000}, "documents", "500000 items", id="documents"),
        pytest.param(
            {"query": "q", "passages": ["a"], "x": [1] * 9_000_000}, "body", "250000 values", id="a flat list"
        ),
        pytest.param({"query": "q", "passages": ["a"], "x": [[]] * 300_000}, "body", "250000 values", id="lists"),
        pytest.param(
            {"query": "q", "passages": ["a"], "x": [{"a": 1}] * 200_000}, "body", "250000 values", id="objects"
        ),
    ],
)
def test_what_would_take_seconds_to_read_is_refused_at_once(
    client: httpx.Client, body: dict[str, Any], field: str, said: str
) -> None:
    """Others are answered meanwhile, long before all of it could have been read."""
    path = "/v1/prune" if "passages" in body else "/v2/rerank"
    content = json.dumps(body, separators=(",", ":")).encode()
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=client.base_url, timeout=PATIENCE) as other:
        refused = pool.submit(client.post, path, content=content, headers={"Content-Type": "application/json"})
        waits = []
        while not refused.done():
            started = time.monotonic()
            assert other.get("/health/live").status_code == 200
            waits.append(time.monotonic() - started)
        response = refused.result()
    assert response.status_code == 422
    assert said in next(error["problem"] for error in response.json()["errors"] if error["field"] == field)
    assert max(waits) < 5


@pytest.mark.slow
def test_a_large_body_within_the_limits_is_read(client: httpx.Client) -> None:
    passages = [{"text": "", "metadata": {"k": list(range(20))}} for _ in range(8000)]
    response = client.post("/v1/prune", json={"query": "q", "passages": passages})
    assert response.status_code == 200
    assert response.json()["results"][0]["metadata"] == {"k": list(range(20))}


@pytest.mark.slow
def test_a_line_of_a_batch_is_no_larger_than_a_body(start_server: Any) -> None:
    line = json.dumps({"query": "q", "passages": ["a"]})
    with start_server("--max-body-bytes", "100") as server:
        content = f"{line}\n{line.ljust(101)}\n{line.ljust(100)}\n"
        response = httpx.post(f"{server.url}/v1/prune/batch", content=content, headers=NDJSON, timeout=PATIENCE)
    answers = [json.loads(answer) for answer in response.text.splitlines()]
    assert [answer.get("error", {}).get("status") for answer in answers] == [None, 413, None]
