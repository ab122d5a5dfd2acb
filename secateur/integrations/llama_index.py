"""LlamaIndex: `SecateurPostprocessor` prunes and reranks retrieved nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from secateur.integrations.documents import KEY, Naming, as_passage, described
from secateur.integrations.engine import Engine
from secateur.integrations.settings import PruneSettings
from secateur.models.errors import InputError, MissingExtraError
from secateur.models.types import Passage, PruneResult

try:
    from llama_index.core.callbacks import CBEventType, EventPayload
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import BaseNode, MetadataMode, Node, NodeWithScore, QueryBundle, TextNode
except ModuleNotFoundError as error:
    raise MissingExtraError("llama-index-core", "llama-index") from error

from pydantic import PrivateAttr

if TYPE_CHECKING:
    from secateur.client import AsyncClient, Client
    from secateur.models.pruner import Pruner

dispatcher = get_dispatcher(__name__)

_NAMING = Naming({"passages": "nodes"})


class SecateurPostprocessor(PruneSettings, BaseNodePostprocessor):
    """Gives back copies of the nodes with pruned text; the originals stay untouched.

    Ids, relationships and metadata are kept. The score is the relevance; the retriever's is in the metadata's
    `secateur`, beside the kept spans (code points of the original text) and counts, which neither a prompt nor an
    embedding sees. `ReRankStartEvent` and `ReRankEndEvent` are emitted.

    Args:
        pruner: a loaded model to use.
        client: a client of a service to use, with its settings.
        settings: fields of `PruneSettings`: options of `Pruner.prune`, a model, or a service's `url`.
    """

    _engine: Engine = PrivateAttr()

    def __init__(
        self, *, pruner: Pruner | None = None, client: Client | AsyncClient | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._engine = Engine(self, pruner, client)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex saves it under."""
        return "SecateurPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        if not nodes:
            return []
        self._start(nodes, query)
        with self.callback_manager.event(CBEventType.RERANKING, payload=self._payload(nodes, query)) as event:
            with _NAMING.errors():
                result = self._engine.prune(query, self._passages(nodes), **self.options())
            pruned = _pruned(nodes, result)
            event.on_end(payload={EventPayload.NODES: pruned})
        dispatcher.event(ReRankEndEvent(nodes=pruned))
        return pruned

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        if not nodes:
            return []
        self._start(nodes, query)
        with self.callback_manager.event(CBEventType.RERANKING, payload=self._payload(nodes, query)) as event:
            with _NAMING.errors():
                result = await self._engine.aprune(query, self._passages(nodes), **self.options())
            pruned = _pruned(nodes, result)
            event.on_end(payload={EventPayload.NODES: pruned})
        dispatcher.event(ReRankEndEvent(nodes=pruned))
        return pruned

    def _start(self, nodes: list[NodeWithScore], query: str) -> None:
        top_n = self.options()["top_n"] or len(nodes)
        name = self._engine.model_name
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=name))

    def _payload(self, nodes: list[NodeWithScore], query: str) -> dict[str, Any]:
        return {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self._engine.model_name,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: self.options()["top_n"] or len(nodes),
        }

    def _passages(self, nodes: list[NodeWithScore]) -> list[Passage]:
        return [as_passage(_text(node.node), node.node.metadata, self.title_key) for node in nodes]


def _query(query_bundle: QueryBundle | None) -> str:
    if query_bundle is None:
        raise InputError("query_bundle", "is missing", "give query_bundle or query_str; pruning needs the question")
    return query_bundle.query_str


def _text(node: BaseNode) -> str:
    return node.get_content(metadata_mode=MetadataMode.NONE) if isinstance(node, TextNode | Node) else ""


def _pruned(nodes: list[NodeWithScore], result: PruneResult) -> list[NodeWithScore]:
    pruned = []
    result = _NAMING.result(result)
    for item in result.results:
        given = nodes[item.index]
        text = _text(given.node)
        node = given.node.model_copy(deep=True)
        if text:
            node.set_content(item.text)
        node.metadata = described(given.node.metadata, text, item, result)
        # Outside of what a prompt or an embedding reads, the score is the node's own.
        score = node.metadata.pop("relevance_score", given.score)
        node.metadata[KEY]["retrieval_score"] = given.score
        for keys in (node.excluded_llm_metadata_keys, node.excluded_embed_metadata_keys):
            if KEY not in keys:
                keys.append(KEY)
        pruned.append(NodeWithScore(node=node, score=score))
    return pruned
