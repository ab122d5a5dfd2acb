"""Haystack itself, with the shipped model here and on a live service."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.core.serialization import component_from_dict, component_to_dict
from haystack.utils import Secret
from haystack.utils.misc import _deduplicate_documents
from live_server import PATIENCE, Server

from secateur import InputError, Pruner, ServiceUnavailableError
from secateur.integrations.haystack import SecateurPruner

QUERY = "When was the Eiffel Tower finished?"
TOWER = "It stands in Paris. It was finished in March 1889.  Millions visit it every year."
NOWHERE = "http://127.0.0.1:9"


def documents() -> list[Document]:
    return [
        Document(id="bread", content="Bread needs flour. It is baked for an hour.", meta={"page": None}, score=0.9),
        Document(id="tower", content=TOWER, meta={"title": "Eiffel Tower", "pages": [1]}, embedding=[1.0]),
        Document(id="again", content="Bread needs flour. It is baked for an hour."),
        Document(id="none", content=None),
        Document(id="empty", content=""),
    ]


@pytest.fixture(scope="module", params=["local", "service"])
def component(request: pytest.FixtureRequest, pruner: Pruner, service: Server, service_key: str) -> SecateurPruner:
    """A component on each side."""
    if request.param == "local":
        return SecateurPruner(pruner=pruner)
    return SecateurPruner(url=service.url, api_key=Secret.from_token(service_key), timeout_s=PATIENCE)


def check(found: list[Document], pruner: Pruner) -> None:
    given = documents()
    wanted = pruner.prune(QUERY, [{"text": d.content or "", "title": d.meta.get("title")} for d in given])
    assert len(found) == len(given)
    for document, item in zip(found, wanted.results, strict=True):
        original = given[item.index]
        assert (document.id, document.embedding) == (original.id, original.embedding)
        assert document.content == (None if original.content is None else item.text)
        assert document.score == pytest.approx(item.score, abs=1e-4)
        assert document.meta["secateur"]["spans"] == [list(span) for span in item.spans]
        assert document.meta["secateur"]["line_spans"] == [list(span) for span in item.line_spans]
        assert document.meta["secateur"]["format"] == item.format
        assert document.meta["secateur"]["retrieval_score"] == original.score
        assert {key: value for key, value in document.meta.items() if key != "secateur"} == original.meta
    assert found[0].id == "tower" and "March 1889" in str(found[0].content)


def test_it_prunes_sync_and_async_and_leaves_originals_alone(component: SecateurPruner, pruner: Pruner) -> None:
    given = documents()
    before = copy.deepcopy(given)
    component.warm_up()
    found = component.run(query=QUERY, documents=given)["documents"]
    check(found, pruner)
    found[0].meta["pages"].append(2)
    assert given == before
    check(asyncio.run(component.run_async(query=QUERY, documents=given))["documents"], pruner)
    assert component.run(query=QUERY, documents=[]) == {"documents": []}


def test_arguments_of_a_run_come_before_those_of_the_component(component: SecateurPruner) -> None:
    assert len(component.run(query=QUERY, documents=documents(), top_n=2)["documents"]) == 2
    assert [d.id for d in component.run(query=QUERY, documents=documents(), min_score=0.5)["documents"]] == ["tower"]


def test_lists_of_text_to_keep_or_drop(component: SecateurPruner) -> None:
    log = "2024-05-01 12:00:00 INFO started\n2024-05-01 12:00:01 ERROR disk full\n2024-05-01 12:00:02 INFO stopped"
    given = [Document(content=log)]
    kept: dict[str, Any] = {"threshold": 1.0, "keep_relevant": False, "always_keep": ["errors", "re:stop+ed$"]}
    (found,) = component.run(query=QUERY, documents=given, **kept)["documents"]
    assert found.content == "2024-05-01 12:00:01 ERROR disk full\n2024-05-01 12:00:02 INFO stopped"
    assert found.meta["secateur"]["line_spans"] == [[2, 3]] and found.meta["secateur"]["format"] == "lines"
    (found,) = component.run(query=QUERY, documents=given, threshold=0.0, never_keep=["started"])["documents"]
    assert found.meta["secateur"]["line_spans"] == [[2, 3]]
    with pytest.raises(InputError, match=r"always_keep\[1\]: 're:\(' is not a valid RE2 pattern"):
        component.run(query=QUERY, documents=given, always_keep=["errors", "re:("])


def test_in_a_pipeline_sync_and_async(component: SecateurPruner, pruner: Pruner) -> None:
    pipeline = Pipeline()
    pipeline.add_component("joiner", DocumentJoiner())  # it puts out the documents of a branch as they are
    pipeline.add_component("pruner", copy.deepcopy(component))
    pipeline.connect("joiner.documents", "pruner.documents")
    given: dict[str, Any] = {"joiner": {"documents": documents()}, "pruner": {"query": QUERY, "top_n": 1}}
    assert [d.id for d in pipeline.run(given)["pruner"]["documents"]] == ["tower"]
    assert [d.id for d in asyncio.run(pipeline.run_async(given))["pruner"]["documents"]] == ["tower"]


def test_errors_name_the_field(pruner: Pruner) -> None:
    component = SecateurPruner(pruner=pruner)
    with pytest.raises(InputError, match="query: is empty"):
        component.run(query="", documents=documents())
    for options, field in (({"top_n": 0}, "top_n"), ({"min_score": 2.0}, "min_score")):
        with pytest.raises(InputError) as info:
            component.run(query=QUERY, documents=documents(), **options)
        assert info.value.field == field and str(info.value).startswith(f"{field}: ")
        with pytest.raises(InputError) as info:
            SecateurPruner(pruner=pruner, **options).run(query=QUERY, documents=documents())
        assert info.value.field == field
        with pytest.raises(InputError) as info:
            asyncio.run(component.run_async(query=QUERY, documents=documents(), **options))
        assert info.value.field == field
    for name in ("top_n", "min_score"):
        with pytest.raises(ValueError, match=rf"PruneSettings\n{name}\n"):
            SecateurPruner(**{name: "many"})
    odd = Document(id="odd", content="5")
    object.__setattr__(odd, "content", 5)
    twice = [*documents()[:1], *documents()[:1], odd]
    with pytest.raises(InputError) as info:
        component.run(query=QUERY, documents=twice)
    assert info.value.field == "documents[2].content"


def test_a_document_found_twice_is_pruned_once(component: SecateurPruner, pruner: Pruner) -> None:
    """As by Haystack's own rankers: the one with the highest score, in the place of the first."""
    first = Document(id="tower", content=TOWER, meta={"from": "bm25"}, score=0.2)
    second = Document(id="tower", content=TOWER, meta={"from": "embeddings"}, score=0.7)
    unscored = Document(id="tower", content=TOWER, meta={"from": "nowhere"})
    bread, again = documents()[0], documents()[2]  # with one text, but two ids
    given = [unscored, bread, first, second, again, first]
    assert {d.meta["from"] for d in _deduplicate_documents(given) if d.id == "tower"} == {"embeddings"}
    found = component.run(query=QUERY, documents=given)["documents"]
    assert [d.id for d in found] == ["tower", "bread", "again"]
    assert found[0].meta["from"] == "embeddings" and found[0].meta["secateur"]["retrieval_score"] == 0.7
    assert [d.meta["secateur"]["index"] for d in found] == [3, 1, 4]
    assert asyncio.run(component.run_async(query=QUERY, documents=given))["documents"] == found
    two = component.run(query=QUERY, documents=given, top_n=2)["documents"]
    assert [d.id for d in two] == ["tower", "bread"]
    tokens = pruner.prune(QUERY, [TOWER]).usage.output_tokens
    spare = SecateurPruner(pruner=pruner, max_tokens=2 * tokens, threshold=0.0)
    once = spare.run(query=QUERY, documents=[first, bread])["documents"]
    assert [d.content for d in spare.run(query=QUERY, documents=[first, first, bread])["documents"]] == [
        d.content for d in once
    ]


def test_of_equal_scores_the_first_is_taken(pruner: Pruner) -> None:
    component = SecateurPruner(pruner=pruner, reorder=False)
    given = [Document(id="a", content="Bread.", meta={"n": n}, score=score) for n, score in enumerate([None, 0.5, 0.5])]
    (found,) = component.run(query=QUERY, documents=given)["documents"]
    assert found.meta["n"] == 1 == _deduplicate_documents(given)[0].meta["n"]


def test_warnings_name_the_document_that_was_given(pruner: Pruner) -> None:
    given = [
        Document(id="a", content="Bread."),
        Document(id="a", content="Bread."),
        Document(id="b", content="\ud800."),
    ]
    found = SecateurPruner(pruner=pruner).run(query=QUERY, documents=given)["documents"]
    assert found[0].meta["secateur"]["warnings"] == ["documents[2]: lone surrogates were replaced by U+FFFD"]


def test_a_service_that_is_down() -> None:
    with pytest.raises(ServiceUnavailableError):
        SecateurPruner(url=NOWHERE, timeout_s=0.5).run(query=QUERY, documents=documents())
    passing = SecateurPruner(url=NOWHERE, timeout_s=0.5, on_error="passthrough")
    found = passing.run(query=QUERY, documents=documents())["documents"]
    assert [(d.id, d.content, d.score) for d in found] == [(d.id, d.content, d.score) for d in documents()]


def test_it_is_saved_with_the_name_of_the_keys_variable() -> None:
    key = Secret.from_env_var("MY_KEY", strict=False)
    component = SecateurPruner(url=NOWHERE, top_n=3, always_keep=["errors"], api_key=key)
    saved = component_to_dict(component, "pruner")
    assert saved["init_parameters"]["api_key"]["env_vars"] == ["MY_KEY"]
    assert (saved["init_parameters"]["always_keep"], saved["init_parameters"]["never_keep"]) == (["errors"], [])
    assert component_to_dict(component_from_dict(SecateurPruner, saved, "pruner"), "pruner") == saved
    pipeline = Pipeline()
    pipeline.add_component("pruner", component)
    loaded = Pipeline.loads(pipeline.dumps(), allowed_modules=["secateur.integrations.haystack"])
    assert loaded.to_dict() == pipeline.to_dict()
    with pytest.raises(ValueError, match=r"[Tt]oken"):  # Haystack refuses to write a key
        SecateurPruner(api_key=Secret.from_token("secret-key")).to_dict()
