"""Rerank dialects on a real server, field by field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.models.errors import InputError
from secateur.models.pruner import Pruner
from secateur.models.types import PassageResult, UnitScore
from secateur.service.dialects.common import span_scores
from secateur.service.dialects.jina import CohereV1Body
from secateur.service.settings import Settings

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
    expected = pruner.prune(QUERY, DOCUMENTS, threshold=threshold, return_units=True)
    bar = pruner.config.threshold if threshold is None else threshold
    for got, want in zip(results, expected.results, strict=True):
        found = got.get("relevant_spans", [])
        assert "relevant_spans" not in got or found
        kept = [
            (start, end)
            for start, end in want.spans
            if any(u.score >= bar for u in want.units or () if start <= u.start and u.end <= end + 1)
        ]
        assert sorted((span["start"], span["end"]) for span in found) == kept
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
        ("/v1/rerank", {"documents": ["a"], "return_documents": "perhaps"}, "return_documents"),
        ("/v1/rerank", {"documents": ["a"], "return_documents": 2}, "return_documents"),
        ("/v1/rerank", {"documents": ["a"], "top_n": "-1"}, "top_n"),
        ("/v1/rerank", {"documents": ["a"], "top_n": "1.5"}, "top_n"),
        ("/v1/rerank", {"documents": ["a"], "top_n": "9" * 5000}, "top_n"),
        ("/v1/rerank", {"documents": ["a"], "threshold": "nan"}, "threshold"),
        ("/v1/rerank", {"documents": ["a"], "target_recall": "inf"}, "target_recall"),
        ("/v1/rerank", {"documents": ["a"], "rank_fields": [str(n) for n in range(101)]}, "rank_fields"),
        ("/v1/rerank", {"documents": ["a"], "rank_fields": "title"}, "rank_fields"),
        ("/v2/rerank", {"documents": [None, "x"]}, "documents[0]"),
        ("/v2/rerank", {"documents": ["x", ["y"]]}, "documents[1]"),
        (
            "/v2/rerank",
            {"documents": ["a"], "relevant_spans": {"mode": "enabled", "max_spans": "0"}},
            "relevant_spans.max_spans",
        ),
        ("/v2/rerank", {"texts": []}, "texts"),
        ("/v1/rerank", {"texts": ["a", 1]}, "texts[1]"),
        ("/infinity/rerank", {"texts": ["a"], "raw_scores": "x"}, "raw_scores"),
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


@pytest.mark.parametrize("path", OBJECT_PATHS)
@pytest.mark.parametrize("item", [None, 3, True, ["x"]], ids=repr)
def test_what_documents_may_be_is_said_without_names_of_the_code(client: httpx.Client, path: str, item: Any) -> None:
    (error,) = client.post(path, json={"query": QUERY, "documents": ["x", item]}).json()["errors"]
    assert error["field"] == "documents[1]"
    assert "a string or an object" in error["problem"]
    assert "Body" not in error["problem"]


@pytest.mark.parametrize("path", OBJECT_PATHS)
@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"top_n": "1", "return_documents": "true"}, {"top_n": 1, "return_documents": True}),
        ({"top_n": 2.0, "return_documents": 1}, {"top_n": 2, "return_documents": True}),
        ({"top_n": "3", "return_documents": "False"}, {"top_n": 3, "return_documents": False}),
        ({"threshold": "0.5", "return_len": "true"}, {"threshold": 0.5}),
        ({"target_recall": "0.9", "return_documents": 0}, {"target_recall": 0.9}),
        ({"raw_scores": "false", "max_chunks_per_doc": "2", "priority": "1"}, {}),
    ],
)
def test_fields_are_read_as_other_servers_do(
    client: httpx.Client, path: str, given: dict[str, Any], plain: dict[str, Any]
) -> None:
    found, expected = (rerank(client, path, documents=DOCUMENTS, **body)["results"] for body in (given, plain))
    assert found == expected


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"return_text": "true", "raw_scores": "1"}, {"return_text": True, "raw_scores": True}),
        ({"return_text": 1, "raw_scores": "off", "truncate": "yes"}, {"return_text": True}),
    ],
)
def test_booleans_of_tei_may_be_in_quotes(client: httpx.Client, given: dict[str, Any], plain: dict[str, Any]) -> None:
    assert rerank(client, "/rerank", texts=DOCUMENTS, **given) == rerank(client, "/rerank", texts=DOCUMENTS, **plain)
    refused = client.post("/rerank", json={"query": "tower " * 600, "texts": DOCUMENTS, "truncate": "false"})
    assert refused.status_code == 422


def test_relevant_spans_may_be_asked_for_in_quotes(client: httpx.Client) -> None:
    given, plain = (
        rerank(client, "/v2/rerank", documents=DOCUMENTS, relevant_spans={"mode": "enabled", **spans})["results"]
        for spans in ({"threshold": "0.3", "max_spans": "1"}, {"threshold": 0.3, "max_spans": 1})
    )
    assert given == plain


def test_the_native_api_stays_strict(client: httpx.Client) -> None:
    for field, value in (("top_n", "1"), ("threshold", "0.5"), ("return_units", "true"), ("return_units", 1)):
        response = client.post("/v1/prune", json={"query": QUERY, "passages": ["a"], field: value})
        assert [error["field"] for error in response.json()["errors"]] == [field]


def test_the_schema_says_what_may_be_in_quotes(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name, fields in {
        "CohereBody": ["top_n", "return_documents", "threshold"],
        "CohereV1Body": ["top_n", "max_chunks_per_doc"],
        "JinaBody": ["raw_scores"],
        "TEIBody": ["raw_scores", "return_text", "truncate", "threshold"],
        "RelevantSpans": ["threshold", "max_spans"],
    }.items():
        for field in fields:
            assert {"type": "string"} in schemas[name]["properties"][field]["anyOf"]
    assert {"type": "string"} not in schemas["PruneBody"]["properties"]["top_n"]["anyOf"]


@pytest.mark.parametrize("path", OBJECT_PATHS)
def test_texts_are_teis_on_every_path(client: httpx.Client, path: str) -> None:
    body = {"texts": DOCUMENTS, "return_text": True, "model": "x"}
    assert rerank(client, path, **body) == rerank(client, "/rerank", **body)
    assert rerank(client, path, **body, documents=None) == rerank(client, "/rerank", **body)
    both = rerank(client, path, documents=DOCUMENTS, texts=["ignored"])
    assert len(both["results"]) == len(DOCUMENTS)
    assert client.post(path, json={"query": QUERY, "texts": []}).json()["errors"][0]["field"] == "texts"


@pytest.mark.parametrize(
    ("path", "body", "field", "sent"),
    [
        *((path, {"query": "q", "docs": ["a"]}, "documents", "docs") for path in OBJECT_PATHS),
        ("/v2/rerank", {"query": "q", "passages": ["a"]}, "documents", "passages"),
        ("/v1/rerank", {"query": "q", "Documents": ["a"], "documents": None}, "documents", "Documents"),
        ("/rerank", {"question": "q", "texts": ["a"]}, "query", "question"),
        ("/v1/prune", {"query": "q", "documents": ["a"]}, "passages", "documents"),
        ("/v1/prune", {"q": "q", "passages": ["a"]}, "query", "q"),
    ],
)
def test_a_field_under_another_name_is_named(
    client: httpx.Client, path: str, body: dict[str, Any], field: str, sent: str
) -> None:
    (error,) = client.post(path, json=body).json()["errors"]
    assert error["field"] == field
    assert f"{sent} was sent" in error["problem"]
    assert sent in error["hint"]


@pytest.mark.parametrize("body", [{}, {"user": "me", "top_n": 1}, {"rank_fields": ["a"]}])
def test_a_field_that_stands_for_another_is_not_guessed(client: httpx.Client, body: dict[str, Any]) -> None:
    (error,) = client.post("/v1/rerank", json={"query": "q", **body}).json()["errors"]
    assert (error["field"], error["problem"]) == ("documents", "Field required")


SETTINGS = Settings()


def texts_of(**body: Any) -> list[str]:
    """Return what is ranked of the documents of a body of `/v1/rerank`."""
    request = CohereV1Body.model_validate({"query": "q", **body}).prune_request(SETTINGS)
    return [passage.text for passage in request.passages]


def test_rank_fields_are_read_in_their_order_once_each_and_as_json() -> None:
    document = {"n": 3, "t": True, "none": None, "list": ["é", {"a": 1.5}], "text": "T", "s": "plain"}
    assert texts_of(documents=[document, "d"], rank_fields=["s", "n", "s", "missing", "none", "t", "list", "n"]) == [
        's: plain\nn: 3\nt: true\nlist: ["é", {"a": 1.5}]',
        "d",
    ]
    for fields in (None, [], ["text"], ["text", "text"]):
        assert texts_of(documents=[document], rank_fields=fields) == ["T"]
    assert texts_of(documents=[document], rank_fields=["s", "text"]) == ["s: plain\ntext: T"]


FIELD = st.sampled_from(["a", "b", "c", "text"])


@given(
    documents=st.lists(st.dictionaries(FIELD, st.text(max_size=3), min_size=1), max_size=4),
    fields=st.lists(FIELD, max_size=100),
)
def test_rank_fields_cost_no_more_than_their_documents(documents: list[dict[str, str]], fields: list[str]) -> None:
    documents = [{"text": "", **document} for document in documents]
    try:
        found = texts_of(documents=documents, rank_fields=fields)
    except InputError as error:
        assert set(fields) and error.field.startswith("documents[")
        return
    for text, document in zip(found, documents, strict=True):
        assert len(text) <= sum(len(name) + 3 + len(value) for name, value in document.items())


def test_what_rank_fields_would_make_counts_before_it_is_made() -> None:
    made = 0

    class Counted(CohereV1Body):
        def texts(self) -> Iterator[str]:
            nonlocal made
            for text in super().texts():
                made += 1
                yield text

    document = {f"field {number}": "x" * 90 for number in range(100)}
    body = Counted.model_validate({"query": "q", "documents": [document] * 2000, "rank_fields": list(document)})
    with pytest.raises(InputError) as raised:
        body.prune_request(SETTINGS)
    assert raised.value.field == "documents"
    assert made <= SETTINGS.max_characters / 10_000 + 1


def test_a_document_comes_back_with_all_that_it_came_with(client: httpx.Client) -> None:
    document: dict[str, Any] = {"text": "A tower.", "none": None, "deep": [{"a": None}], "1": {"b": []}}
    document |= {"given": 1, "model_extra": 2}
    for path in ("/v2/rerank", "/v1/rerank", "/rerank"):
        content = rerank(client, path, documents=[document], return_documents="true")
        assert content["results"][0]["document"] == document


def result_of(spans: Sequence[tuple[int, int]], units: tuple[UnitScore, ...]) -> PassageResult:
    lines = ((1, 1),) * len(spans)
    return PassageResult(0, None, 0.5, "", tuple(spans), lines, "text", 0, len(units), not spans, None, units)


def naive_scores(spans: list[tuple[int, int]], units: list[UnitScore]) -> list[float]:
    return [max(unit.score for unit in units if unit.start < end and unit.end > start) for start, end in spans]


@given(data=st.data(), lengths=st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_a_span_has_the_score_of_its_best_unit(data: st.DataObject, lengths: list[int]) -> None:
    edges = [0, *accumulate(lengths)]
    scores = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    units = [UnitScore(start, end, "sentence", data.draw(scores), True, "score") for start, end in pairwise(edges)]
    cuts = sorted(data.draw(st.sets(st.integers(0, edges[-1]), max_size=8)))
    spans = [(start, end) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
    found = span_scores(result_of(spans, tuple(units)))
    assert sorted((span["start"], span["end"], span["score"]) for span in found) == sorted(
        (*span, score) for span, score in zip(spans, naive_scores(spans, units), strict=True)
    )
    assert [span["score"] for span in found] == sorted((span["score"] for span in found), reverse=True)


def test_scoring_spans_looks_at_each_unit_a_few_times() -> None:
    looks = 0

    class Counted(tuple[UnitScore, ...]):
        def __getitem__(self, at: Any) -> Any:
            nonlocal looks
            found = super().__getitem__(at)
            looks += len(found) if isinstance(at, slice) else 1
            return found

    units = Counted(UnitScore(n, n + 1, "sentence", 0.5, n % 2 == 0) for n in range(20_000))
    spans = tuple((n, n + 1) for n in range(0, 20_000, 2))
    span_scores(result_of(spans, units))
    assert looks < 10 * len(units)


@pytest.mark.slow
def test_long_documents_are_read_whole(client: httpx.Client, pruner: Pruner) -> None:
    long = "The weather was fine. " * 400 + "The Eiffel Tower was finished in March 1889."
    for path, name in (("/v2/rerank", "documents"), ("/rerank", "texts")):
        content = rerank(client, path, **{name: [long]})
        item = content[0] if name == "texts" else content["results"][0]
        assert "1889" in item["pruned_text"]
        assert item["pruned_text"] == pruner.prune(QUERY, [long]).results[0].text
