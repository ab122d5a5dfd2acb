"""Single requests made to cost the service far more than they cost their sender."""

from __future__ import annotations

import json
from typing import Any

import pytest
from live_server import Server
from siege import ask, send, siege

pytestmark = pytest.mark.e2e

QUERY = "When was it finished?"
KEPT_AND_DROPPED = "It was finished in 1889. Bread needs flour, water, and an hour in a hot oven. "
FIELDS = [f"field {number}" for number in range(100)]
WRONG = {"text": 1, "title": 1, "format": 1, "id": [], "metadata": 1}
MIB = 1 << 20
WORKED = {200, 422, 429, 504}  # answered, refused for its size, or not in time


def body(**fields: Any) -> bytes:
    return json.dumps({"query": QUERY, **fields}).encode()


def _deep(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


# By what they have: the path, the fields of the body beside the query, and the field that is wrong.
WRONG_BODIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "fields by documents": (
        "/v1/rerank",
        {"documents": [{"a": ""}] * 5000, "rank_fields": ["a"] * 20_000},
        "rank_fields",
    ),
    "one long field many times": (
        "/v1/rerank",
        {"documents": [{"a": "x" * 2000}] * 300, "rank_fields": ["a"] * 5000},
        "rank_fields",
    ),
    "as many fields as allowed": (
        "/v1/rerank",
        {"documents": [*[dict.fromkeys(FIELDS, "x" * 40)] * 1000, {"z": 1}], "rank_fields": FIELDS},
        "documents",
    ),
    "fields in no document": (
        "/v1/rerank",
        {"documents": [{"a": "x"}] * 10_000, "rank_fields": FIELDS},
        "documents[0]",
    ),
    "a joiner of 3 MB": (
        "/v1/prune",
        {"passages": [KEPT_AND_DROPPED * 2] * 200, "threshold": 0.5, "joiner": "x" * 3_000_000},
        "joiner",
    ),
    "150,000 units": ("/v1/prune", {"passages": ["a\x0c" * 150_000], "return_units": True}, "return_units"),
    "50,000 wrong fields": ("/v1/prune", {"passages": [WRONG] * 10_000}, "passages[0].text"),
    "200,000 wrong fields": ("/v1/rerank", {"documents": ["a"], "rank_fields": [1] * 200_000}, "rank_fields"),
    "wrong passages": ("/v1/prune", {"passages": [1] * 10_000}, "passages[0]"),
    "wrong documents": ("/v2/rerank", {"documents": [None] * 10_000}, "documents[0]"),
    "wrong texts": ("/v1/rerank", {"documents": [{"text": 1}] * 10_000}, "documents[0].text"),
    "a value behind a long key": ("/v2/rerank", {"documents": [], "k" * MIB: [0] * 200_000}, "documents"),
    "documents as an object": ("/rerank", {"documents": {str(n): "x" * 50 for n in range(100_000)}}, "documents"),
    "names of fields": ("/v2/rerank", {f"docs {n}": 1 for n in range(200_000)}, "documents"),
    "a number of 10 MB": ("/v2/rerank", {"documents": ["a"], "top_n": "9" * 10 * MIB}, "top_n"),
    "too many characters": ("/v1/prune", {"passages": ["\u00e9" * 5_000_000]}, "passages"),
}


def test_wrong_bodies_are_refused_at_once(target: Server) -> None:
    """One after the other under one siege, since a watch takes longer to start than an attack to be refused."""
    with siege(target):
        replies = {name: ask(target, path, body(**fields)) for name, (path, fields, _) in WRONG_BODIES.items()}
    for name, (_, _, field) in WRONG_BODIES.items():
        assert replies[name].status == 422, name
        assert replies[name].length < 10_000, name
        assert json.loads(replies[name].start)["errors"][0]["field"].startswith(field), name


@pytest.mark.parametrize(
    ("path", "content"),
    [
        pytest.param("/v1/prune", body(passages=["Ab. " * 75_000], return_units=True), id="75,000 units"),
        pytest.param("/v1/prune", body(passages=["Ab. " * 99] * 9_000, return_units=True), id="900,000 units"),
        pytest.param(
            "/v2/rerank",
            body(documents=[KEPT_AND_DROPPED * 2_000], relevant_spans={"mode": "enabled", "threshold": 0.5}),
            id="2,000 relevant spans",
        ),
        pytest.param(
            "/v1/prune",
            body(passages=[{"text": "It was.", "metadata": {f"k{n}": n for n in range(20)}}] * 9_000),
            id="180,000 values of metadata",
        ),
        pytest.param("/v1/prune", body(passages=[{"text": "a", "metadata": _deep(390)}] * 400), id="depth"),
        pytest.param("/v1/prune", body(passages=["\ud800" * 3_900_000]), id="lone surrogates"),
        pytest.param("/v1/prune", b" " * 31_000_000 + body(passages=["a"]), id="31 MB of white space"),
    ],
)
def test_a_costly_body_costs_nobody_else(target: Server, path: str, content: bytes) -> None:
    with siege(target):
        assert send(target, path, content, {"X-Request-Timeout-Ms": "8000"}) in WORKED
