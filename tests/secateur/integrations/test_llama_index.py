"""LlamaIndex itself, with the shipped model here and on a live service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from live_server import PATIENCE, Server
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import (
    ImageNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from secateur import Client, InputError, Pruner, ServiceUnavailableError
from secateur.integrations.llama_index import SecateurPostprocessor

QUERY = "When was the Eiffel Tower finished?"
TOWER = "It stands in Paris. It was finished in March 1889.  Millions visit it every year."


def nodes() -> list[NodeWithScore]:
    bread = TextNode(text="Bread needs flour. It is baked for an hour.", id_="bread", metadata={"page": None})
    tower = TextNode(text=TOWER, id_="tower", metadata={"title": "Eiffel Tower", "pages": [1]})
    tower.relationships[NodeRelationship.PREVIOUS] = RelatedNodeInfo(node_id="bread")
    return [
        NodeWithScore(node=bread, score=0.9),
        NodeWithScore(node=tower, score=0.4),
        NodeWithScore(node=bread.model_copy(update={"id_": "again"})),
        NodeWithScore(node=TextNode(text="", id_="empty"), score=0.1),
        NodeWithScore(node=ImageNode(image="aGk=", id_="image")),
    ]


@pytest.fixture(scope="module", params=["local", "service"])
def postprocessor(
    request: pytest.FixtureRequest, pruner: Pruner, service: Server, service_key: str
) -> SecateurPostprocessor:
    """A postprocessor on each side."""
    if request.param == "local":
        return SecateurPostprocessor(pruner=pruner)
    return SecateurPostprocessor(url=service.url, api_key=service_key, timeout_s=PATIENCE)


def check(found: list[NodeWithScore], pruner: Pruner) -> None:
    given = nodes()
    passages = [{"text": n.text if n.node_id != "image" else "", "title": n.node.metadata.get("title")} for n in given]
    wanted = pruner.prune(QUERY, passages)
    assert len(found) == len(given)
    for node, item in zip(found, wanted.results, strict=True):
        original = given[item.index]
        assert node.node_id == original.node_id
        assert node.score == pytest.approx(item.score, abs=1e-4)
        assert node.node.relationships == original.node.relationships
        assert node.node.get_content(metadata_mode=MetadataMode.NONE) == item.text
        added = node.node.metadata["secateur"]
        assert added["spans"] == [list(span) for span in item.spans]
        assert (added["line_spans"], added["format"]) == ([list(span) for span in item.line_spans], item.format)
        assert added["retrieval_score"] == original.score
        assert {key: value for key, value in node.node.metadata.items() if key != "secateur"} == original.node.metadata
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "secateur" not in node.node.get_content(metadata_mode=mode)
    assert found[0].node_id == "tower" and "March 1889" in found[0].text


def test_it_prunes_sync_and_async_and_leaves_originals_alone(
    postprocessor: SecateurPostprocessor, pruner: Pruner
) -> None:
    given = nodes()
    found = postprocessor.postprocess_nodes(given, query_str=QUERY)
    check(found, pruner)
    found[0].node.metadata["pages"].append(2)
    assert [node.to_dict() for node in given] == [node.to_dict() for node in nodes()]
    check(asyncio.run(postprocessor.apostprocess_nodes(given, query_str=QUERY)), pruner)
    assert postprocessor.postprocess_nodes([], query_str=QUERY) == []


def test_it_emits_events(postprocessor: SecateurPostprocessor) -> None:
    seen: list[Any] = []

    class Handler(BaseEventHandler):
        @classmethod
        def class_name(cls) -> str:
            return "Handler"

        def handle(self, event: Any, **kwargs: Any) -> None:
            seen.append(event)

    root = get_dispatcher()
    root.add_event_handler(Handler())
    try:
        found = postprocessor.postprocess_nodes(nodes(), query_str=QUERY)
        start, end = (event for event in seen if isinstance(event, ReRankStartEvent | ReRankEndEvent))
        seen.clear()
        asyncio.run(postprocessor.apostprocess_nodes(nodes(), query_str=QUERY))
        kinds = [type(event) for event in seen if isinstance(event, ReRankStartEvent | ReRankEndEvent)]
    finally:
        root.event_handlers.pop()
    assert isinstance(start, ReRankStartEvent) and isinstance(end, ReRankEndEvent)
    assert (start.query, len(start.nodes), start.top_n) == (QUERY, 5, 5)
    assert [node.node_id for node in end.nodes] == [node.node_id for node in found]
    assert kinds == [ReRankStartEvent, ReRankEndEvent]


def test_errors_name_the_field(pruner: Pruner) -> None:
    postprocessor = SecateurPostprocessor(pruner=pruner, drop_empty=True, top_n=1)
    assert [node.node_id for node in postprocessor.postprocess_nodes(nodes(), query_str=QUERY)] == ["tower"]
    with pytest.raises(InputError, match="query_bundle: is missing"):
        postprocessor.postprocess_nodes(nodes())
    with pytest.raises(InputError, match="query: is empty"):
        postprocessor.postprocess_nodes(nodes(), query_str="")
    with pytest.raises(InputError, match="top_n: -1 is out of range"):
        SecateurPostprocessor(pruner=pruner, top_n=-1).postprocess_nodes(nodes(), query_str=QUERY)


def test_a_service_that_is_down() -> None:
    client = Client("http://127.0.0.1:9", retries=0, on_error="passthrough")
    found = SecateurPostprocessor(client=client).postprocess_nodes(nodes(), query_str=QUERY)
    assert [(node.node_id, node.score) for node in found] == [(node.node_id, node.score) for node in nodes()]
    assert [node.node.get_content() for node in found][1:] == [node.node.get_content() for node in nodes()][1:]
    raising = SecateurPostprocessor(client=Client("http://127.0.0.1:9", retries=0))
    with pytest.raises(ServiceUnavailableError):
        asyncio.run(raising.apostprocess_nodes(nodes(), query_str=QUERY))


def test_it_is_saved_without_its_key() -> None:
    postprocessor = SecateurPostprocessor(url="http://127.0.0.1:9", api_key="secret-key", top_n=3)
    saved = postprocessor.to_json()
    assert "secret-key" not in saved + repr(postprocessor)
    assert SecateurPostprocessor.from_json(saved).to_dict() == postprocessor.to_dict()
