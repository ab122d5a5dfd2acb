"""Large requests and answers: the service stays live while they are read and made, and what is too large is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from secateur.models.pruner import Pruner

PATIENCE = 300.0
LIVE_S = 3.0
SHARE = 0.25  # of the time that a request takes: on a machine with much else to do everything takes longer
LONG = {"X-Request-Timeout-Ms": "300000"}
QUERY = "When was it finished?"


@contextmanager
def live(server: Any) -> Iterator[None]:
    """Ask again and again whether the server lives while the context runs: each answer comes soon."""
    over = threading.Event()
    waits: list[float] = []

    def probe(client: httpx.Client) -> None:
        while not over.wait(0.02) or not waits:
            started = time.monotonic()
            assert client.get("/health/live").status_code == 200
            waits.append(time.monotonic() - started)

    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        client.get("/health/live")  # so that the connection is there
        thread = threading.Thread(target=probe, args=(client,))
        began = time.monotonic()
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
    assert max(waits) < max(LIVE_S, SHARE * (time.monotonic() - began)), waits


def post(client: httpx.Client, path: str = "/v1/prune", **body: Any) -> httpx.Response:
    return client.post(path, json={"query": QUERY, **body}, headers=LONG)


def refused(response: httpx.Response, field: str) -> None:
    assert response.status_code == 422, response.text[:500]
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert len(response.content) < 10_000


@pytest.mark.slow
@pytest.mark.parametrize("passages", [["a\x0c" * 15_000], ["a\x0c" * 10] * 1000], ids=["one", "many"])
def test_many_units_come_back_and_nobody_waits(server: Any, client: httpx.Client, passages: list[str]) -> None:
    with live(server):
        response = post(client, passages=passages, return_units=True, threshold=0.0)
    assert response.status_code == 200, response.text[:500]
    results = response.json()["results"]
    assert [len(result["units"]) for result in results] == [passages[0].count("\x0c")] * len(passages)
    assert [unit["start"] for unit in results[0]["units"]] == list(range(0, len(passages[0]), 2))


@pytest.mark.slow
def test_more_units_than_are_allowed_are_refused(server: Any, client: httpx.Client) -> None:
    """A third of a megabyte took four seconds, in which nobody was answered."""
    with live(server):
        refused(post(client, passages=["a\x0c" * 150_000], return_units=True), "return_units")


def test_a_long_joiner_is_refused(client: httpx.Client) -> None:
    """The answer would have half a gigabyte."""
    refused(post(client, passages=["It stands. It was."] * 200, joiner="j" * 3_000_000), "joiner")


@pytest.mark.slow
@pytest.mark.parametrize(
    "passages",
    [
        pytest.param([{"text": "", "metadata": {"k": list(range(20))}}] * 10_000, id="many values"),
        pytest.param([{"text": "", "metadata": {"k" * 100_000: [0] * 200_000}}], id="a long key over many values"),
        pytest.param([{"text": "", "metadata": {"k": "\u00e9" * 4_000_000}}], id="a long string"),
        pytest.param([{"text": "", "metadata": {"k": ["\ud800"] * 200_000}}], id="lone surrogates"),
        pytest.param([""] * 10_000, id="many passages"),
    ],
)
def test_large_bodies_are_read_and_answered_and_nobody_waits(
    server: Any, client: httpx.Client, passages: list[Any]
) -> None:
    content = json.dumps({"query": QUERY, "passages": passages})
    with live(server):
        response = client.post("/v1/prune", content=content, headers={**LONG, "Content-Type": "application/json"})
    assert response.status_code == 200, response.text[:500]
    expected = json.loads(content.replace("\\ud800", "\\ufffd"))["passages"]
    metadata = [item["metadata"] if isinstance(item, dict) else None for item in expected]
    assert [result["metadata"] for result in response.json()["results"]] == metadata


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/prune", {"passages": [""] * 9999 + [1]}),
        ("/v1/rerank", {"documents": [""] * 9999 + [1]}),
        ("/rerank", {"texts": [""] * 9999 + [1]}),
        ("/v1/prune", {"passages": [{"text": "", "metadata": {"k" * 200_000: [[float("nan")]] * 100_000}}]}),
    ],
)
def test_wrong_large_bodies_keep_nobody_waiting(
    server: Any, client: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    content = json.dumps({"query": QUERY, "x": ["x"] * 100_000, **body})
    with live(server):
        response = client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "name", "options"),
    [
        ("/v1/rerank", "documents", {"return_documents": True}),
        ("/v2/rerank", "documents", {"return_documents": True, "relevant_spans": {"mode": "enabled"}}),
        ("/rerank", "texts", {"return_text": True}),
        ("/infinity/rerank", "documents", {"return_documents": True}),
    ],
)
def test_large_answers_of_dialects_keep_nobody_waiting(
    server: Any, client: httpx.Client, path: str, name: str, options: dict[str, Any]
) -> None:
    texts = ["It stands in Paris. " * 20] * 20 + [""] * 5000
    with live(server):
        response = post(client, path, **{name: texts}, **options)
    assert response.status_code == 200
    content = response.json()
    assert len(content if path == "/rerank" else content["results"]) == 5020


@pytest.mark.slow
def test_what_is_made_in_pieces_is_what_the_library_returns(client: httpx.Client, pruner: Pruner) -> None:
    """More units and spans than are encoded at once, and metadata of every kind."""
    text = "\x0c".join(f"It is {number}." for number in range(1100))
    metadata = {"a": [1, 1.5, None, {"é": "\u2028"}], "n": 10**30}
    passages: list[str | dict[str, Any]] = [{"text": text, "id": 7, "metadata": metadata}, "It is.", ""]
    expected = pruner.prune(QUERY, passages, return_units=True, threshold=0.5)
    response = post(client, passages=passages, return_units=True, threshold=0.5)
    for got, want in zip(response.json()["results"], expected.results, strict=True):
        assert (got["index"], got["id"], got["text"]) == (want.index, want.id, want.text)
        assert [tuple(span) for span in got["spans"]] == list(want.spans)
        assert got["metadata"] == want.metadata
        assert (got["kept_units"], got["total_units"], got["empty"]) == (want.kept_units, want.total_units, want.empty)
        units = [(unit["start"], unit["end"], unit["kind"], unit["kept"], unit["tokens"]) for unit in got["units"]]
        assert units == [(u.start, u.end, u.kind, u.kept, u.tokens) for u in want.units or ()]
        assert [unit["score"] for unit in got["units"]] == pytest.approx([u.score for u in want.units or ()], abs=1e-4)
