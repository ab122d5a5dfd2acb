"""LlamaIndex: `SecateurPostprocessor` prunes and reranks retrieved nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from secateur.integrations.any_pruner import (
    METADATA_KEY,
    CallerNames,
    PruningComponent,
    document_passage,
    result_metadata,
)
from secateur.models.errors import InputError, MissingExtraError
from secateur.models.types import Passage, PruneResult

try:
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import BaseNode, MetadataMode, Node, NodeWithScore, QueryBundle, TextNode
except ModuleNotFoundError as error:
    raise MissingExtraError("llama-index-core", "llama-index") from error

from pydantic import ConfigDict

if TYPE_CHECKING:
    from secateur.client import AsyncClient, Client
    from secateur.models.pruner import Pruner

dispatcher = get_dispatcher(__name__)

_NAMES = CallerNames({"passages": "nodes"})


class SecateurPostprocessor(PruningComponent, BaseNodePostprocessor):
    """Returns copies of the nodes with pruned text; the originals are not changed.

    Ids, relationships and metadata are kept. The score is the relevance; the retriever's is in the metadata's
    `secateur`, with the kept spans (code points of the original text), their lines, and counts, which prompts and
    embeddings leave out. `ReRankStartEvent` and `ReRankEndEvent` are emitted. `postprocess_nodes` raises `InputError`
    if the query or an option is wrong, and `ServiceError` if the service did not answer.

    Args:
        pruner: Loaded model to use.
        client: Client of a service to use, with its settings.
        settings: Fields of `PruneSettings`: options of `Pruner.prune`, a model, or a service's `url`.
    """

    model_config = ConfigDict(extra="forbid")  # LlamaIndex's own base ignores unknown fields

    if TYPE_CHECKING:  # type checkers would derive a signature without the options

        def __init__(
            self, *, pruner: Pruner | None = None, client: Client | AsyncClient | None = None, **settings: Any
        ) -> None: ...

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex saves it under."""
        return "SecateurPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        query = self._begun(nodes, query_bundle)
        return _pruned(nodes, self._pruner.prune(query, self._passages(nodes), self.options(), _NAMES))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes:
            return []
        query = self._begun(nodes, query_bundle)
        return _pruned(nodes, await self._pruner.aprune(query, self._passages(nodes), self.options(), _NAMES))

    def _begun(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None) -> str:
        if query_bundle is None:
            raise InputError("query_bundle", "is missing", "give query_bundle or query_str, the question to prune for")
        query, name, top_n = query_bundle.query_str, self._pruner.model_name, self.options()["top_n"] or len(nodes)
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=name))
        return query

    def _passages(self, nodes: list[NodeWithScore]) -> list[Passage]:
        return [document_passage(_text(node.node), node.node.metadata, self) for node in nodes]


def _text(node: BaseNode) -> str:
    return node.get_content(metadata_mode=MetadataMode.NONE) if isinstance(node, TextNode | Node) else ""


def _pruned(nodes: list[NodeWithScore], result: PruneResult) -> list[NodeWithScore]:
    pruned = []
    for item in result.results:
        given = nodes[item.index]
        text = _text(given.node)
        node = given.node.model_copy(deep=True)
        if text:
            node.set_content(item.text)
        node.metadata = result_metadata(given.node.metadata, text, item, result)
        score = node.metadata.pop("relevance_score", given.score)  # prompts and embeddings would read it there
        node.metadata[METADATA_KEY]["retrieval_score"] = given.score
        for keys in (node.excluded_llm_metadata_keys, node.excluded_embed_metadata_keys):
            if METADATA_KEY not in keys:
                keys.append(METADATA_KEY)
        pruned.append(NodeWithScore(node=node, score=score))
    dispatcher.event(ReRankEndEvent(nodes=pruned))
    return pruned
