"""Single requests made to cost the service far more than they cost their sender."""

from __future__ import annotations

import json
from typing import Any

import pytest
from live_server import Server
from siege import send, siege

QUERY = "When was it finished?"
KEPT_AND_DROPPED = "It was finished in 1889. Bread needs flour, water, and an hour in a hot oven. "

WORKED = {200, 400, 413, 422, 429, 504}  # answered, or refused for a reason


def body(**fields: Any) -> bytes:
    return json.dumps({"query": QUERY, **fields}).encode()


def _deep(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


# Each is sent by one client; the statuses are those that may answer it.
@pytest.mark.parametrize(
    ("path", "content", "statuses"),
    [
        pytest.param(
            "/v1/rerank",
            body(documents=[{"a": ""}] * 5000, rank_fields=["a"] * 20_000),
            {422},
            id="fields by documents",
        ),
        pytest.param(
            "/v1/rerank",
            body(documents=[{"a": "x" * 2000}] * 300, rank_fields=["a"] * 5000),
            {200, 422},
            id="one long field many times",
        ),
        pytest.param(
            "/v1/rerank",
            body(documents=[{f"a{n}": "x" * 300 for n in range(90)}] * 100, rank_fields=[f"a{n}" for n in range(90)]),
            WORKED,
            id="many fields",
        ),
        pytest.param(
            "/v1/prune",
            body(passages=[KEPT_AND_DROPPED * 2] * 200, threshold=0.5, joiner="x" * 3_000_000),
            {422},
            id="a joiner of 3 MB",
        ),
        pytest.param("/v1/prune", body(passages=["Ab. " * 75_000], return_units=True), WORKED, id="75,000 units"),
        pytest.param("/v1/prune", body(passages=["Ab. " * 99] * 9_000, return_units=True), WORKED, id="900,000 units"),
        pytest.param(
            "/v1/prune",
            body(passages=[{"text": 1, "title": 1, "format": 1, "id": [], "metadata": 1}] * 10_000),
            {422},
            id="50,000 wrong fields",
        ),
        pytest.param("/v1/rerank", body(documents=["a"], rank_fields=[1] * 200_000), {422}, id="200,000 wrong fields"),
        pytest.param("/v1/prune", body(passages=[1] * 10_000), {422}, id="10,000 wrong passages"),
        pytest.param("/v2/rerank", body(documents=[None] * 10_000), {422}, id="10,000 wrong documents"),
        pytest.param(
            "/v2/rerank",
            body(documents=[KEPT_AND_DROPPED * 3_000], relevant_spans={"mode": "enabled", "threshold": 0.5}),
            {200, 504},
            id="3,000 relevant spans",
        ),
        pytest.param(
            "/v1/prune",
            body(passages=[{"text": "It was.", "metadata": {f"k{n}": n for n in range(20)}}] * 9_000),
            WORKED,
            id="180,000 values of metadata",
        ),
        pytest.param("/v1/prune", body(passages=[{"text": "a", "metadata": _deep(400)}] * 400), WORKED, id="depth"),
        pytest.param("/v1/prune", body(passages=["a" * 3_900_000]), WORKED, id="one word of 4 MB"),
        pytest.param("/v1/prune", body(passages=["\ud800" * 3_900_000]), WORKED, id="surrogates"),
        pytest.param("/v1/prune", b" " * 31_000_000 + body(passages=["a"]), {200}, id="31 MB of white space"),
        pytest.param("/v1/prune", body(passages=["\u00e9" * 5_000_000]), {422}, id="too many characters"),
    ],
)
def test_one_body(target: Server, path: str, content: bytes, statuses: set[int]) -> None:
    with siege(target):
        assert send(target, path, content) in statuses
