"""LangChain: `SecateurCompressor` prunes and reranks retrieved `Document`s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secateur.integrations.any_pruner import CallerNames, PruningComponent, document_passage, result_metadata
from secateur.models.errors import MissingExtraError
from secateur.models.types import Passage, PruneResult

try:
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.load import Serializable
except ModuleNotFoundError as error:
    raise MissingExtraError("langchain-core", "langchain") from error

from pydantic import ConfigDict

if TYPE_CHECKING:
    from secateur.client import AsyncClient, Client
    from secateur.models.pruner import Pruner

_NAMES = CallerNames({"passages": "documents", "text": "page_content"})


class SecateurCompressor(PruningComponent, BaseDocumentCompressor, Serializable):
    """Returns new documents with pruned `page_content`; the originals are not changed.

    Their metadata is a deep copy, with `relevance_score` and, under `secateur`, the kept spans (code points of the
    original text), their lines, and counts. For a `ContextualCompressionRetriever` or a `DocumentCompressorPipeline`;
    in a chain or a graph's node, use
    `RunnableLambda(lambda x: compressor.compress_documents(x["documents"], x["query"]))`.

    Args:
        pruner: Loaded model to use.
        client: Client of a service to use, with its settings.
        settings: Fields of `PruneSettings`: options of `Pruner.prune`, a model, or a service's `url`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    if TYPE_CHECKING:  # type checkers would derive a signature without the options

        def __init__(
            self, *, pruner: Pruner | None = None, client: Client | AsyncClient | None = None, **settings: Any
        ) -> None: ...

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return whether LangChain may save it."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable that a loaded compressor reads its key from."""
        return {"api_key": "SECATEUR_API_KEY"}

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Prune and rerank retrieved documents for the user's question; callbacks are ignored.

        Raises:
            InputError: The query or an option is wrong.
            ServiceError: The service did not answer.
        """
        if not documents:
            return []
        return _pruned(documents, self._pruner.prune(query, self._passages(documents), self.options(), _NAMES))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Prune and rerank documents without blocking the event loop; see `compress_documents`."""
        if not documents:
            return []
        return _pruned(documents, await self._pruner.aprune(query, self._passages(documents), self.options(), _NAMES))

    def _passages(self, documents: Sequence[Document]) -> list[Passage]:
        return [document_passage(document.page_content, document.metadata, self) for document in documents]


def _pruned(documents: Sequence[Document], result: PruneResult) -> list[Document]:
    pruned = []
    for item in result.results:
        document = documents[item.index]
        metadata = result_metadata(document.metadata, document.page_content, item, result)
        pruned.append(Document(page_content=item.text, metadata=metadata, id=document.id))
    return pruned
