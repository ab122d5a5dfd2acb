"""Bodies of the rerank APIs, and wrong ones of all, that cost their sender little: the service stays live and small."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

PATIENCE = 300.0
SMALL = {"query": "When was it finished?", "documents": ["It was finished in 1889."]}
MIB = 1 << 20
WRONG = {"text": 1, "id": [], "title": 1, "format": 1, "metadata": 1}
A = ["a"]
FIELDS = [f"field {number}" for number in range(100)]

# Each with the field that is wrong; none is answered.
ATTACKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "many equal fields": ("/v1/rerank", {"documents": [{"a": ""}] * 5000, "rank_fields": A * 20_000}, "rank_fields"),
    "long equal fields": (
        "/v1/rerank",
        {"documents": [{"a": "x" * 2000}] * 300, "rank_fields": A * 5000},
        "rank_fields",
    ),
    "as many as allowed": (
        "/v1/rerank",
        {"documents": [*[dict.fromkeys(FIELDS, "x" * 40)] * 1000, {"z": 1}], "rank_fields": FIELDS},
        "documents",
    ),
    "in no document": ("/v1/rerank", {"documents": [{"a": "x"}] * 10_000, "rank_fields": FIELDS}, "documents[0]"),
    "wrong documents": ("/v1/rerank", {"documents": [{"text": 1}] * 10_000}, "documents[0].text"),
    "wrong passages": ("/v1/prune", {"passages": [WRONG] * 10_000}, "passages[0].text"),
    "a value behind a long key": ("/v2/rerank", {"documents": [], "k" * MIB: [0] * 200_000}, "documents"),
    "documents as an object": ("/rerank", {"documents": {str(n): "x" * 50 for n in range(100_000)}}, "documents"),
    "names of fields": ("/v2/rerank", {f"docs {n}": 1 for n in range(200_000)}, "documents"),
    "a number of a megabyte": ("/v2/rerank", {"documents": ["a"], "top_n": "9" * 10 * MIB}, "top_n"),
}


@pytest.fixture(scope="module")
def attacked(start_server: Any) -> Iterator[Any]:
    with start_server() as server:
        yield server


def seconds(call: Callable[[], httpx.Response]) -> float:
    start = time.perf_counter()
    assert call().status_code == 200
    return time.perf_counter() - start


@pytest.mark.parametrize("name", ATTACKS)
def test_the_service_stays_live_and_small(attacked: Any, name: str) -> None:
    path, body, field = ATTACKS[name]
    content = json.dumps({"query": "q", **body}).encode()
    process = psutil.Process(attacked.process.pid)
    headers = {"content-type": "application/json"}
    with httpx.Client(base_url=attacked.url, timeout=PATIENCE) as client, ThreadPoolExecutor(1) as pool:

        def live() -> float:
            return seconds(lambda: client.get("/health/live"))

        def small() -> float:
            return seconds(lambda: client.post("/v1/rerank", json=SMALL))

        small()
        # A machine that does other work too is slower, here and there.
        usual, usual_small = max(live() for _ in range(20)), small()
        before = process.memory_info().rss
        attack = pool.submit(httpx.post, attacked.url + path, content=content, headers=headers, timeout=PATIENCE)
        slowest, most = 0.0, before
        while not attack.done():
            slowest = max(slowest, live())
            most = max(most, process.memory_info().rss)
        response = attack.result()
        after = small()
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field
    assert len(response.content) < 10_000
    assert most - before < 300 * MIB
    assert slowest < max(1.0, 30 * usual)
    assert after < max(2.0, 30 * usual_small)
