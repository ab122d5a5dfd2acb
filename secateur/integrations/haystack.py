"""Haystack: `SecateurPruner`, a component that prunes and reranks retrieved `Document`s."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from secateur.integrations.any_pruner import METADATA_KEY, AnyPruner, CallerNames, document_passage, result_metadata
from secateur.integrations.settings import PruneSettings, option_types
from secateur.models.errors import MissingExtraError
from secateur.models.types import Passage, PruneResult

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.utils import Secret
except ModuleNotFoundError as error:
    raise MissingExtraError("haystack-ai", "haystack") from error

if TYPE_CHECKING:
    from secateur.models.pruner import Pruner

_KEY = Secret.from_env_var("SECATEUR_API_KEY", strict=False)


def _with_settings(init: Callable[..., None]) -> Any:
    """Put the fields of `PruneSettings` into the signature of a function in place of ``**settings``."""
    own, fields = inspect.signature(init).parameters, inspect.signature(PruneSettings).parameters
    parameters = {**own, **fields, **own}
    del parameters["settings"]
    init.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    return init


@component
class SecateurPruner:
    """Returns copies of documents with pruned content, by falling relevance; the originals are not changed.

    Ids are kept. Of several documents with the same id, as two retrievers may find them, only the one with the highest
    score is pruned and returned, as by Haystack's own rankers. The score is the relevance; the retriever's is in
    `meta["secateur"]`, with the kept spans (code points of the original content), their lines, and counts. Documents
    without content are returned as they are.

    Args:
        api_key: API key of the service.
        pruner: Loaded model to use; it is not saved with a pipeline.
        settings: Fields of `PruneSettings`: options of `Pruner.prune`, a model, or a service's `url`.
    """

    @_with_settings
    def __init__(self, *, api_key: Secret | None = _KEY, pruner: Pruner | None = None, **settings: Any) -> None:
        self.api_key = api_key
        self._settings = PruneSettings(**settings)
        # A key need not exist before it is used, so that without a model this is made in `_ready`.
        self._pruner = None if pruner is None else AnyPruner(self._settings, pruner)
        for name, kind in option_types().items():
            component.set_input_type(self, name, kind | None, None)

    def to_dict(self) -> dict[str, Any]:
        """Return what a pipeline is saved with. Of the key, that is the name of its variable."""
        key = self.api_key.to_dict() if self.api_key is not None else None
        return default_to_dict(self, **self._settings.model_dump(), api_key=key)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SecateurPruner:
        """Return the component that `to_dict` has saved."""
        given = data.get("init_parameters", {})
        if isinstance(given.get("api_key"), dict):
            data = {**data, "init_parameters": {**given, "api_key": Secret.from_dict(given["api_key"])}}
        found: SecateurPruner = default_from_dict(cls, data)
        return found

    def warm_up(self) -> None:
        """Load the model, or make the client; otherwise the first run does."""
        self._ready().get()

    def _ready(self) -> AnyPruner:
        if self._pruner is None:
            key = self.api_key.resolve_value() if self._settings.url and self.api_key is not None else None
            self._pruner = AnyPruner(PruneSettings(**self._settings.model_dump(), api_key=key))
        return self._pruner

    def _arguments(
        self, query: str, documents: list[Document], given: dict[str, Any]
    ) -> tuple[str, list[Passage], dict[str, Any], CallerNames]:
        names = _best_of_each_id(documents)
        chosen = [documents[position] for position in names.positions or ()]
        passages = [document_passage(document.content, document.meta, self._settings) for document in chosen]
        options = {name: value for name, value in given.items() if value is not None}
        return query, passages, self._settings.options() | options, names

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], **options: Any) -> dict[str, Any]:
        """Prune and rerank retrieved documents for the user's question; options replace those of the component.

        Raises:
            InputError: The query or an option is wrong.
            ServiceError: The service did not answer.
        """
        if not documents:
            return {"documents": []}
        result = self._ready().prune(*self._arguments(query, documents, options))
        return {"documents": _pruned(documents, result)}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, documents: list[Document], **options: Any) -> dict[str, Any]:
        """Prune and rerank documents without blocking the event loop; see `run`."""
        if not documents:
            return {"documents": []}
        result = await self._ready().aprune(*self._arguments(query, documents, options))
        return {"documents": _pruned(documents, result)}


def _best_of_each_id(documents: list[Document]) -> CallerNames:
    """Return the positions to prune: of each id the document with the highest score, as Haystack's rankers choose."""
    chosen: dict[str, int] = {}
    scores = [-math.inf if document.score is None else document.score for document in documents]
    for position, document in enumerate(documents):
        best = chosen.setdefault(document.id, position)
        if scores[position] > scores[best]:
            chosen[document.id] = position
    return CallerNames({"passages": "documents", "text": "content"}, tuple(chosen.values()))


def _pruned(documents: list[Document], result: PruneResult) -> list[Document]:
    pruned = []
    for item in result.results:
        document = documents[item.index]
        meta = result_metadata(document.meta, document.content, item, result)
        score = meta.pop("relevance_score", document.score)
        meta[METADATA_KEY]["retrieval_score"] = document.score
        content = None if document.content is None else item.text
        pruned.append(replace(document, content=content, meta=meta, score=score))
    return pruned
