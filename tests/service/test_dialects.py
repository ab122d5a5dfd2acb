"""Rerank dialects on a real server, field by field."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest

from secateur.models.pruner import Pruner

QUERY = "When was the Eiffel Tower finished?"
DOCUMENTS = [
    "Bread needs flour and water. It is baked for an hour.",
    "👩\u200d🍳 The Eiffel Tower stands in Paris. It was finished in March 1889. Millions visit it every year.",
    "",
    "The Louvre is a museum. It opened in 1793.",
    "The Eiffel Tower was finished in 1889. Its chief engineer was Koechlin. Paris is in France. It rained. "
    "Work on the tower ended in March 1889.",
]
OBJECT_PATHS = ["/v2/rerank", "/v1/rerank", "/rerank", "/infinity/rerank"]


def rerank(client: httpx.Client, path: str, **body: Any) -> Any:
    response = client.post(path, json={"query": QUERY, **body})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="module")
def scores(pruner: Pruner) -> dict[int, float]:
    """The library's relevance of each document."""
    return {item.index: item.score for item in pruner.prune(QUERY, DOCUMENTS).results}


def assert_ranked(results: list[dict[str, Any]], scores: dict[int, float], name: str = "relevance_score") -> None:
    found = [item[name] for item in results]
    assert found == sorted(found, reverse=True)
    for item in results:
        assert item[name] == pytest.approx(scores[item["index"]], abs=1e-4)


@pytest.mark.parametrize("path", OBJECT_PATHS)
def test_every_document_is_ranked_under_its_index(client: httpx.Client, path: str, scores: dict[int, float]) -> None:
    results = rerank(client, path, documents=DOCUMENTS, model="rerank-v3.5")["results"]
    assert sorted(item["index"] for item in results) == list(range(len(DOCUMENTS)))
    assert_ranked(results, scores)
    assert all("document" not in item for item in results)


@pytest.mark.parametrize("path", OBJECT_PATHS)
def test_top_n_and_nulls(client: httpx.Client, path: str, scores: dict[int, float]) -> None:
    nulls = dict.fromkeys(
        ["model", "return_documents", "max_tokens_per_doc", "relevant_spans", "rank_fields", "priority"]
    )
    two = rerank(client, path, documents=DOCUMENTS, top_n=2, **nulls, surprise={"a": 1})["results"]
    assert {item["index"] for item in two} == {1, 4}
    assert_ranked(two, scores)
    for everything in (None, 0, 100):
        assert len(rerank(client, path, documents=DOCUMENTS, top_n=everything)["results"]) == len(DOCUMENTS)


@pytest.mark.parametrize("path", OBJECT_PATHS)
def test_documents_may_be_objects(client: httpx.Client, path: str, scores: dict[int, float]) -> None:
    documents = [text if index % 2 else {"text": text, "id": index} for index, text in enumerate(DOCUMENTS)]
    assert_ranked(rerank(client, path, documents=documents)["results"], scores)


@pytest.mark.parametrize("path", OBJECT_PATHS)
def test_pruned_text_is_the_librarys(client: httpx.Client, path: str, pruner: Pruner) -> None:
    for options in ({}, {"threshold": 0.9}, {"target_recall": 0.95}):
        expected = {item.index: item.text for item in pruner.prune(QUERY, DOCUMENTS, **options).results}
        results = rerank(client, path, documents=DOCUMENTS, **options)["results"]
        assert {item["index"]: item["pruned_text"] for item in results} == expected


@pytest.mark.parametrize("path", ["/v2/rerank", "/v1/rerank", "/rerank"])
def test_documents_are_returned_when_asked_for(client: httpx.Client, path: str) -> None:
    documents = [*DOCUMENTS, {"text": "A tower.", "id": "t"}]
    for item in rerank(client, path, documents=documents, return_documents=True)["results"]:
        given = documents[item["index"]]
        assert item["document"] == ({"text": given} if isinstance(given, str) else given)


def test_infinitys_clients_get_documents_as_strings(client: httpx.Client) -> None:
    documents = [*DOCUMENTS, {"text": "A tower."}]
    content = rerank(client, "/infinity/rerank", documents=documents, return_documents=True)
    assert {item["index"]: item["document"] for item in content["results"]} == dict(enumerate([*DOCUMENTS, "A tower."]))


@pytest.mark.parametrize("path", ["/rerank", "/infinity/rerank"])
def test_raw_scores_are_logits(client: httpx.Client, path: str, scores: dict[int, float]) -> None:
    assert_ranked(rerank(client, path, documents=DOCUMENTS, raw_scores=False)["results"], scores)
    for item in rerank(client, path, documents=DOCUMENTS, raw_scores=True)["results"]:
        assert 1 / (1 + math.exp(-item["relevance_score"])) == pytest.approx(scores[item["index"]], abs=1e-4)


def test_the_envelope_of_each_dialect(client: httpx.Client, pruner: Pruner) -> None:
    usage = pruner.prune(QUERY, DOCUMENTS).usage
    total = usage.query_tokens + usage.input_tokens
    v2 = rerank(client, "/v2/rerank", documents=DOCUMENTS)
    assert set(v2) == {"id", "results", "meta"}
    assert v2["meta"] == {
        "api_version": {"version": "2"},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": total, "output_tokens": usage.output_tokens},
    }
    v1 = rerank(client, "/v1/rerank", documents=DOCUMENTS)
    assert v1["meta"]["api_version"] == {"version": "1"}
    jina = rerank(client, "/rerank", documents=DOCUMENTS)
    assert "meta" not in jina
    for content in (v1, jina):
        assert content["object"] == "rerank"
        assert content["model"] == "secateur-nano-en"
        assert content["usage"] == {"prompt_tokens": total, "total_tokens": total}


@pytest.mark.parametrize("threshold", [None, 0.05, 0.5])
def test_relevant_spans_are_the_kept_ones_best_first(
    client: httpx.Client, pruner: Pruner, threshold: float | None
) -> None:
    spans = {"mode": "enabled"} if threshold is None else {"mode": "enabled", "threshold": threshold}
    results = rerank(client, "/v2/rerank", documents=DOCUMENTS, relevant_spans=spans)["results"]
    expected = pruner.prune(QUERY, DOCUMENTS, threshold=threshold, keep_title=False, return_units=True)
    bar = pruner.config.threshold if threshold is None else threshold
    for got, want in zip(results, expected.results, strict=True):
        found = got.get("relevant_spans", [])
        assert "relevant_spans" not in got or found
        assert sorted((span["start"], span["end"]) for span in found) == sorted(want.spans)
        assert [span["score"] for span in found] == sorted((span["score"] for span in found), reverse=True)
        for span in found:
            units = [u.score for u in want.units or () if span["start"] <= u.start and u.end <= span["end"] + 1]
            assert span["score"] == pytest.approx(max(units), abs=1e-4)
            assert span["score"] >= bar
    best = results[0]["relevant_spans"][0]
    assert "1889" in DOCUMENTS[results[0]["index"]][best["start"] : best["end"]]


def test_spans_are_limited_and_switched_off(client: httpx.Client) -> None:
    all_of_them = {"mode": "enabled", "threshold": 0.0}
    texts = ["A. " + " ".join(DOCUMENTS[:2]), DOCUMENTS[4]]
    one = rerank(
        client, "/v2/rerank", documents=texts, relevant_spans={"mode": "enabled", "threshold": 0.3, "max_spans": 1}
    )
    assert all(len(item.get("relevant_spans", [])) <= 1 for item in one["results"])
    everything = rerank(client, "/v2/rerank", documents=texts, relevant_spans=all_of_them)["results"]
    assert all(item["relevant_spans"] for item in everything)
    off = rerank(client, "/v2/rerank", documents=texts, relevant_spans={**all_of_them, "mode": "disabled"})
    assert all("relevant_spans" not in item for item in off["results"])


def test_what_is_not_applied_is_said(client: httpx.Client) -> None:
    content = rerank(client, "/v2/rerank", documents=DOCUMENTS, max_tokens_per_doc=10)
    assert [warning.split(":")[0] for warning in content["meta"]["warnings"]] == ["max_tokens_per_doc"]
    v1 = rerank(client, "/v1/rerank", documents=DOCUMENTS, max_chunks_per_doc=1)
    assert [warning.split(":")[0] for warning in v1["meta"]["warnings"]] == ["max_chunks_per_doc"]
    long = client.post("/v2/rerank", json={"query": "tower " * 600, "documents": DOCUMENTS}).json()
    assert long["meta"]["warnings"][0].startswith("query: cut to its first")


def test_rank_fields_choose_what_is_ranked(client: httpx.Client) -> None:
    documents = [
        {"title": "Bread", "body": "It was finished in March 1889.", "text": "Flour."},
        {"title": "Eiffel Tower", "body": "The Eiffel Tower was finished in March 1889."},
    ]
    content = rerank(client, "/v1/rerank", documents=documents, rank_fields=["title", "body"], return_documents=True)
    assert [item["index"] for item in content["results"]] == [1, 0]
    assert content["results"][0]["document"] == documents[1]
    response = client.post("/v1/rerank", json={"query": QUERY, "documents": documents, "rank_fields": ["missing"]})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "documents[0]"


def test_tei_gets_a_list(client: httpx.Client, scores: dict[int, float], pruner: Pruner) -> None:
    results = rerank(client, "/rerank", texts=DOCUMENTS)
    assert [set(item) for item in results] == [{"index", "score", "pruned_text"}] * len(DOCUMENTS)
    assert_ranked(results, scores, "score")
    expected = {item.index: item.text for item in pruner.prune(QUERY, DOCUMENTS).results}
    assert {item["index"]: item["pruned_text"] for item in results} == expected
    for item in rerank(client, "/rerank", texts=DOCUMENTS, return_text=True, truncate=True, raw_scores=None):
        assert item["text"] == DOCUMENTS[item["index"]]
    for item in rerank(client, "/rerank", texts=DOCUMENTS, raw_scores=True):
        if DOCUMENTS[item["index"]]:
            assert 1 / (1 + math.exp(-item["score"])) == pytest.approx(scores[item["index"]], abs=1e-4)
        else:
            assert item["score"] < -10  # finite, below all others


def test_tei_may_refuse_to_truncate(client: httpx.Client) -> None:
    body = {"query": "tower " * 600, "texts": DOCUMENTS}
    assert client.post("/rerank", json=body).status_code == 200
    refused = client.post("/rerank", json={**body, "truncate": False})
    assert refused.status_code == 422
    assert refused.json()["error_type"] == "Validation"


def test_tei_is_told_of_the_model(client: httpx.Client) -> None:
    info = client.get("/info").json()
    assert info["model_id"] == "secateur-nano-en"
    assert "reranker" in info["model_type"]
    assert info["max_input_length"] == 512
    assert info["auto_truncate"] is True
    assert isinstance(info["max_concurrent_requests"], int)


def test_models_are_listed_as_openai_does(client: httpx.Client) -> None:
    content = client.get("/v1/models").json()
    assert content["object"] == "list"
    assert [(model["id"], model["object"]) for model in content["data"]] == [("secateur-nano-en", "model")]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v2/rerank", {"documents": []}, "documents"),
        ("/v2/rerank", {}, "documents"),
        ("/v2/rerank", {"documents": "text"}, "documents"),
        ("/v2/rerank", {"documents": ["a", 3]}, "documents[1]"),
        ("/v2/rerank", {"documents": ["a", {"id": 1}]}, "documents[1].text"),
        ("/v2/rerank", {"documents": ["a"], "top_n": -1}, "top_n"),
        ("/v2/rerank", {"documents": ["a"], "query": " "}, "query"),
        ("/v2/rerank", {"documents": ["a"], "relevant_spans": {"mode": "on"}}, "relevant_spans.mode"),
        (
            "/v2/rerank",
            {"documents": ["a"], "relevant_spans": {"mode": "enabled", "threshold": 2}},
            "relevant_spans.threshold",
        ),
        (
            "/v2/rerank",
            {"documents": ["a"], "relevant_spans": {"mode": "enabled", "max_spans": 0}},
            "relevant_spans.max_spans",
        ),
        ("/v1/rerank", {"documents": ["a"], "return_documents": "yes"}, "return_documents"),
        ("/v1/rerank", {"documents": ["a"], "threshold": 0.5, "target_recall": 0.9}, "target_recall"),
        ("/rerank", {"documents": []}, "documents"),
        ("/rerank", {"texts": []}, "texts"),
        ("/rerank", {"texts": ["a", None]}, "texts[1]"),
        ("/rerank", {}, "documents"),
    ],
)
def test_wrong_fields_are_named(client: httpx.Client, path: str, body: dict[str, Any], field: str) -> None:
    response = client.post(path, json={"query": QUERY, **body})
    assert response.status_code == 422, response.text
    content = response.json()
    assert content["errors"][0]["field"] == field
    assert content["message"] == content["error"] == content["detail"]


def test_long_documents_are_read_whole(client: httpx.Client, pruner: Pruner) -> None:
    long = "The weather was fine. " * 400 + "The Eiffel Tower was finished in March 1889."
    for path, name in (("/v2/rerank", "documents"), ("/rerank", "texts")):
        content = rerank(client, path, **{name: [long]})
        item = content[0] if name == "texts" else content["results"][0]
        assert "1889" in item["pruned_text"]
        assert item["pruned_text"] == pruner.prune(QUERY, [long]).results[0].text
