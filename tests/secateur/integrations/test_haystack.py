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
    assert len(component.run(query=QUERY, documents=documents(), top_k=2)["documents"]) == 2
    assert [d.id for d in component.run(query=QUERY, documents=documents(), score_threshold=0.5)["documents"]] == [
        "tower"
    ]


def test_in_a_pipeline_sync_and_async(component: SecateurPruner, pruner: Pruner) -> None:
    pipeline = Pipeline()
    pipeline.add_component("joiner", DocumentJoiner())  # it puts out the documents of a branch as they are
    pipeline.add_component("pruner", copy.deepcopy(component))
    pipeline.connect("joiner.documents", "pruner.documents")
    given: dict[str, Any] = {"joiner": {"documents": documents()}, "pruner": {"query": QUERY, "top_k": 1}}
    assert [d.id for d in pipeline.run(given)["pruner"]["documents"]] == ["tower"]
    assert [d.id for d in asyncio.run(pipeline.run_async(given))["pruner"]["documents"]] == ["tower"]


def test_errors_name_the_field(pruner: Pruner) -> None:
    component = SecateurPruner(pruner=pruner)
    with pytest.raises(InputError, match="query: is empty"):
        component.run(query="", documents=documents())
    with pytest.raises(InputError, match="top_n: 0 is not an integer"):
        component.run(query=QUERY, documents=documents(), top_k=0)


def test_a_service_that_is_down() -> None:
    with pytest.raises(ServiceUnavailableError):
        SecateurPruner(url=NOWHERE, timeout_s=0.5).run(query=QUERY, documents=documents())
    passing = SecateurPruner(url=NOWHERE, timeout_s=0.5, on_error="passthrough")
    found = passing.run(query=QUERY, documents=documents())["documents"]
    assert [(d.id, d.content, d.score) for d in found] == [(d.id, d.content, d.score) for d in documents()]


def test_it_is_saved_with_the_name_of_the_keys_variable() -> None:
    component = SecateurPruner(url=NOWHERE, top_k=3, api_key=Secret.from_env_var("MY_KEY", strict=False))
    saved = component_to_dict(component, "pruner")
    assert saved["init_parameters"]["api_key"]["env_vars"] == ["MY_KEY"]
    assert component_to_dict(component_from_dict(SecateurPruner, saved, "pruner"), "pruner") == saved
    pipeline = Pipeline()
    pipeline.add_component("pruner", component)
    loaded = Pipeline.loads(pipeline.dumps(), allowed_modules=["secateur.integrations.haystack"])
    assert loaded.to_dict() == pipeline.to_dict()
    with pytest.raises(ValueError, match=r"[Tt]oken"):  # Haystack refuses to write a key
        SecateurPruner(api_key=Secret.from_token("secret-key")).to_dict()
