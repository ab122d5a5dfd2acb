"""LangChain: `SecateurCompressor` prunes and reranks retrieved `Document`s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secateur.integrations.documents import Naming, as_passage, described
from secateur.integrations.engine import Engine
from secateur.integrations.settings import PruneSettings
from secateur.models.errors import MissingExtraError
from secateur.models.types import Passage, PruneResult

try:
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.load import Serializable
except ModuleNotFoundError as error:
    raise MissingExtraError("langchain-core", "langchain") from error

from pydantic import ConfigDict, PrivateAttr

if TYPE_CHECKING:
    from secateur.client import AsyncClient, Client
    from secateur.models.pruner import Pruner


_NAMING = Naming({"passages": "documents", "text": "page_content"})


class SecateurCompressor(PruneSettings, BaseDocumentCompressor, Serializable):
    """Gives back new documents with pruned `page_content`; the originals stay untouched.

    Their metadata is a deep copy, with `relevance_score` and, under `secateur`, the kept spans (code points of the
    original text) and counts. A `ContextualCompressionRetriever` and a `DocumentCompressorPipeline` take it as it is;
    for a chain or a graph's node, `RunnableLambda(lambda x: compressor.compress_documents(x["documents"],
    x["query"]))` does.

    Args:
        pruner: a loaded model to use.
        client: a client of a service to use, with its settings.
        settings: fields of `PruneSettings`: options of `Pruner.prune`, a model, or a service's `url`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    _engine: Engine = PrivateAttr()

    def __init__(
        self, *, pruner: Pruner | None = None, client: Client | AsyncClient | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._engine = Engine(self, pruner, client)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Say that LangChain may save it."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Name the variable that a saved one reads its key from."""
        return {"api_key": "SECATEUR_API_KEY"}

    def _passages(self, documents: Sequence[Document]) -> list[Passage]:
        return [as_passage(document.page_content, document.metadata, self.title_key) for document in documents]

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Prune and rerank documents for a query.

        Args:
            documents: retrieved ones; none at all gives none.
            query: the user's question.
            callbacks: not used.

        Raises:
            InputError: the query or an option is wrong.
            ServiceError: the service did not answer.
        """
        if not documents:
            return []
        with _NAMING.errors():
            result = self._engine.prune(query, self._passages(documents), **self.options())
        return _pruned(documents, result)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Prune and rerank documents without blocking the event loop; see `compress_documents`."""
        if not documents:
            return []
        with _NAMING.errors():
            result = await self._engine.aprune(query, self._passages(documents), **self.options())
        return _pruned(documents, result)


def _pruned(documents: Sequence[Document], result: PruneResult) -> list[Document]:
    pruned = []
    result = _NAMING.result(result)
    for item in result.results:
        document = documents[item.index]
        metadata = described(document.metadata, document.page_content, item, result)
        pruned.append(Document(page_content=item.text, metadata=metadata, id=document.id))
    return pruned
