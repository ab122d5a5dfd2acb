"""LangChain itself, with the shipped model here and on a live service."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import pytest
from children import output_of
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.load import dumpd, dumps, load
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from live_server import PATIENCE, Server

from secateur import Client, InputError, ModelError, Passage, Pruner, ServiceUnavailableError
from secateur.integrations.any_pruner import document_passage
from secateur.integrations.langchain import SecateurCompressor
from secateur.integrations.settings import PruneSettings

QUERY = "When was the Eiffel Tower finished?"
TOWER = "It stands in Paris. It was finished in March 1889.  Millions visit it every year."
MIXED = "Der Turm wurde 1889 fertig. 塔は1889年に完成した。"
NOWHERE = "http://127.0.0.1:9"


def documents() -> list[Document]:
    return [
        Document(page_content="Bread needs flour. It is baked for an hour.", metadata={"source": None}),
        Document(page_content=TOWER, id="tower", metadata={"title": "Eiffel Tower", "page": {"number": 3}}),
        Document(page_content="Bread needs flour. It is baked for an hour."),
        Document(page_content="", metadata={"title": 5}),
        Document.model_construct(page_content=MIXED, metadata=None, id=None),  # type: ignore[arg-type]
    ]


@pytest.fixture(scope="module", params=["local", "service"])
def compressor(request: pytest.FixtureRequest, pruner: Pruner, service: Server, service_key: str) -> SecateurCompressor:
    """A compressor on each side."""
    if request.param == "local":
        return SecateurCompressor(pruner=pruner)
    return SecateurCompressor(url=service.url, api_key=service_key, timeout_s=PATIENCE)


class Fixed(BaseRetriever):
    """Finds the same documents always."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any = None) -> list[Document]:
        return documents()


def check(found: Sequence[Document], pruner: Pruner) -> None:
    """Compare with the library's result of the same passages."""
    given = documents()
    passages = [{"text": d.page_content, "title": d.metadata["title"] if d.id == "tower" else None} for d in given]
    wanted = pruner.prune(QUERY, passages)
    assert len(found) == len(given)
    for document, item in zip(found, wanted.results, strict=True):
        original = given[item.index]
        assert document.page_content == item.text and document.id == original.id
        assert document.metadata["relevance_score"] == pytest.approx(item.score, abs=1e-4)
        assert document.metadata["secateur"] == {
            "spans": [list(span) for span in item.spans],
            "line_spans": [list(span) for span in item.line_spans],
            "format": item.format,
            "kept_units": item.kept_units,
            "total_units": item.total_units,
            "input_chars": len(original.page_content),
            "output_chars": len(item.text),
            "index": item.index,
        }
        rest = {key: value for key, value in document.metadata.items() if key not in ("relevance_score", "secateur")}
        assert rest == (original.metadata or {})
    assert found[0].id == "tower" and "March 1889" in found[0].page_content


def test_it_prunes_sync_and_async_and_leaves_originals_alone(compressor: SecateurCompressor, pruner: Pruner) -> None:
    given = documents()
    before = copy.deepcopy(given)
    found = compressor.compress_documents(given, QUERY)
    check(found, pruner)
    found[0].metadata["page"]["number"] = 99
    assert given == before
    for _ in range(2):  # in two event loops
        check(asyncio.run(compressor.acompress_documents(given, QUERY)), pruner)
    assert compressor.compress_documents([], QUERY) == []


def test_in_a_retriever_and_a_pipeline(compressor: SecateurCompressor, pruner: Pruner) -> None:
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=Fixed())
    check(retriever.invoke(QUERY), pruner)
    check(asyncio.run(retriever.ainvoke(QUERY)), pruner)

    class Shout(BaseDocumentTransformer):
        def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
            return [d.model_copy(update={"page_content": d.page_content.upper()}) for d in documents]

    pipeline = DocumentCompressorPipeline(transformers=[compressor.model_copy(update={"top_n": 1}), Shout()])
    found = pipeline.compress_documents(documents(), QUERY)
    assert len(found) == 1 and "MARCH 1889" in found[0].page_content
    assert asyncio.run(pipeline.acompress_documents(documents(), QUERY)) == found


def test_as_a_runnable_and_in_a_graph(compressor: SecateurCompressor, pruner: Pruner) -> None:
    class State(TypedDict):
        query: str
        documents: list[Document]

    def prune(state: State) -> dict[str, Any]:
        return {"documents": compressor.compress_documents(state["documents"], state["query"])}

    async def aprune(state: State) -> dict[str, Any]:
        return {"documents": await compressor.acompress_documents(state["documents"], state["query"])}

    state: State = {"query": QUERY, "documents": documents()}
    runnable = RunnableLambda(prune, afunc=aprune)
    check(runnable.invoke(state)["documents"], pruner)
    check(asyncio.run(runnable.ainvoke(state))["documents"], pruner)
    graph = StateGraph(State)
    graph.add_node("prune", runnable)
    graph.add_edge(START, "prune")
    graph.add_edge("prune", END)
    compiled = graph.compile()
    check(compiled.invoke(state)["documents"], pruner)
    check(asyncio.run(compiled.ainvoke(state))["documents"], pruner)


def test_empty_documents_go_when_asked(compressor: SecateurCompressor) -> None:
    found = compressor.model_copy(update={"drop_empty": True}).compress_documents(documents(), QUERY)
    assert 0 < len(found) < 5 and all(document.page_content for document in found)


@pytest.mark.slow
def test_hundreds_at_once(pruner: Pruner) -> None:
    given = [Document(page_content=f"Room {number}.", metadata={"number": number}) for number in range(300)]
    given[234] = Document(page_content="The Eiffel Tower was finished in March 1889.", metadata={"number": 234})
    found = SecateurCompressor(pruner=pruner).compress_documents(given, QUERY)
    assert found[0].metadata["number"] == 234
    assert sorted(document.metadata["number"] for document in found) == list(range(300))


def test_title_and_format_are_read_from_the_metadata() -> None:
    settings = PruneSettings(title_key="heading")
    passage = document_passage("a", {"heading": "T", "title": "other", "format": "text"}, settings)
    assert passage == Passage("a", title="T", format="text")
    for name, known in {
        "lines": "lines",
        "text/html; charset=utf-8": "html",
        "Text/Markdown": "markdown",
        "text/csv": "lines",
        "application/json": "json",
        "text/plain": "auto",
        "application/pdf": "auto",
    }.items():
        assert document_passage("a", {"format": name}, settings).format == known
    for metadata in (None, {}, {"format": "unknown"}, {"format": 5}, {"heading": " ", "format": ["text"]}):
        assert document_passage("a", metadata, settings) == Passage("a")
    assert document_passage(None, {"format": "text"}, PruneSettings(title_key=None, format_key=None)) == Passage("")


def test_the_choices_of_the_model_reach_the_loader(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^precision: "):
        SecateurCompressor(device="cpu", precision="int7").compress_documents(documents(), QUERY)
    with pytest.raises(ModelError):
        SecateurCompressor(model=str(tmp_path), verify=False).compress_documents(documents(), QUERY)


def test_errors_name_the_field(compressor: SecateurCompressor) -> None:
    with pytest.raises(InputError, match="query: is empty"):
        compressor.compress_documents(documents(), " ")
    with pytest.raises(InputError, match=r"threshold: 2.* is out of range"):
        compressor.model_copy(update={"threshold": 2}).compress_documents(documents(), QUERY)
    odd = Document.model_construct(page_content=5, metadata={}, id=None)  # type: ignore[arg-type]
    with pytest.raises(InputError) as info:
        compressor.compress_documents([*documents(), odd], QUERY)
    assert info.value.field == "documents[5].page_content"
    with pytest.raises(InputError, match="top_n: 0 is out of range"):
        compressor.model_copy(update={"top_n": 0}).compress_documents(documents(), QUERY)
    with pytest.raises(ValueError, match="top_m"):
        SecateurCompressor(top_m=3)


def test_a_service_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(NOWHERE, retries=0)
    with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
        SecateurCompressor(client=client).compress_documents(documents(), QUERY)
    passing = SecateurCompressor(client=Client(NOWHERE, retries=0, on_error="passthrough"))
    with caplog.at_level(logging.WARNING):
        found = passing.compress_documents(documents(), QUERY)
    assert [document.page_content for document in found] == [document.page_content for document in documents()]
    assert all("relevance_score" not in document.metadata for document in found)
    assert found[0].metadata["secateur"]["warnings"][0].startswith("passthrough: ")
    assert "passed through unpruned" in caplog.text
    again = asyncio.run(passing.acompress_documents(documents(), QUERY))
    assert [document.page_content for document in again] == [document.page_content for document in found]


def test_it_is_saved_without_its_key() -> None:
    compressor = SecateurCompressor(url=NOWHERE, api_key="secret-key", top_n=3)
    saved = dumps(compressor)
    assert "secret-key" not in saved + repr(compressor) + json.dumps(compressor.model_dump())
    loaded = load(
        dumpd(compressor),
        secrets_map={"SECATEUR_API_KEY": "another-key"},
        allowed_objects=[SecateurCompressor],
        valid_namespaces=["secateur"],
    )
    assert loaded.model_dump() == compressor.model_dump()
    assert loaded.api_key.get_secret_value() == "another-key"
    assert SecateurCompressor(**compressor.model_dump()).model_dump() == compressor.model_dump()
    assert copy.deepcopy(compressor).model_dump() == compressor.model_dump()


FORKS = """
from children import forked
from langchain_core.documents import Document
from secateur.integrations.langchain import SecateurCompressor

compressor = SecateurCompressor(device="cpu", threads=1)
documents = [Document(page_content="It stands in Paris. It was finished in March 1889.")]

def pruned():
    return [one.page_content for one in compressor.compress_documents(documents, "When was the tower finished?")]

before = pruned()

def same():
    assert pruned() == before

print("used before", forked(same))
with compressor._pruner._model.exclusive():  # as a thread of the parent holds it that is loading the model
    print("held", forked(same))
"""


@pytest.mark.slow
def test_a_compressor_prunes_in_a_forked_child(tmp_path: Path) -> None:
    assert output_of(FORKS, folder=tmp_path).split("\n") == ["used before 0", "held 0", ""]


@pytest.mark.slow
def test_a_pickled_compressor_prunes(pruner: Pruner) -> None:
    given = SecateurCompressor(pruner=pruner, threshold=0.2)
    expected = [one.page_content for one in given.compress_documents(documents(), QUERY)]
    for compressor in (given, SecateurCompressor(device="cpu", threads=1, threshold=0.2)):
        found: SecateurCompressor = pickle.loads(pickle.dumps(compressor))
        assert [one.page_content for one in found.compress_documents(documents(), QUERY)] == expected
