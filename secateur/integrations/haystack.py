"""Haystack: `SecateurPruner`, a component that prunes and reranks retrieved `Document`s."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from secateur.integrations.documents import Naming, as_passage, described
from secateur.integrations.engine import Engine
from secateur.integrations.settings import PruneSettings
from secateur.llm.credentials import header_key
from secateur.models.errors import MissingExtraError
from secateur.models.types import Passage, PruneResult

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.utils import Secret
except ModuleNotFoundError as error:
    raise MissingExtraError("haystack-ai", "haystack") from error

from pydantic import Field, SecretStr

if TYPE_CHECKING:
    from secateur.models.pruner import Pruner

_NAMES = {"top_n": "top_k", "min_score": "score_threshold", "passages": "documents", "text": "content"}


class SecateurPrunerSettings(PruneSettings):
    """`PruneSettings` under Haystack's names."""

    top_n: int | None = Field(default=None, validation_alias="top_k")
    min_score: float | None = Field(default=None, validation_alias="score_threshold")


@component
class SecateurPruner:
    """Gives back copies of documents with pruned content, by falling relevance; the originals stay untouched.

    Ids are kept. Of several documents with one id, as two retrievers may find them, only the one with the highest score
    is pruned and returned, as by Haystack's own rankers. The score is the relevance; the retriever's is in
    `meta["secateur"]`, beside the kept spans (code points of the original content) and counts. Documents without text
    come back as they are.

    Args:
        top_k: return only the n most relevant documents.
        score_threshold: return only documents at least this relevant, in [0, 1].
        threshold: sentences with at least this keep probability are kept; default: the model's own.
        target_recall: instead of a threshold, the share of answers to keep.
        max_tokens: token budget over all documents together.
        reorder: return documents by falling relevance instead of in the given order.
        drop_empty: leave out documents of which nothing is kept.
        joiner: put where sentences were dropped.
        title_key: key in `meta` of a title that the model reads.
        truncate_query: cut a query longer than half the window instead of refusing it.
        model: model directory or shipped model's name; with `url`, name of a served model.
        backend: `auto`, `openvino`, `onnx` or `torch`.
        device: `auto`, `cpu` or `cuda`.
        threads: of CPU runtimes.
        url: of a service that prunes instead of a model here.
        api_key: of the service.
        timeout_s: for one request to the service, tries and waits together.
        on_error: `raise`, or `passthrough`: documents come back unpruned when the service is down.
        pruner: a loaded model to use; it is not saved with a pipeline.
    """

    def __init__(
        self,
        *,
        top_k: int | None = None,
        score_threshold: float | None = None,
        threshold: float | None = None,
        target_recall: float | None = None,
        max_tokens: int | None = None,
        reorder: bool = True,
        drop_empty: bool = False,
        joiner: str = " ",
        title_key: str | None = "title",
        truncate_query: bool = False,
        model: str | None = None,
        backend: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        url: str | None = None,
        api_key: Secret | None = Secret.from_env_var("SECATEUR_API_KEY", strict=False),  # noqa: B008 (immutable)
        timeout_s: float = 60.0,
        on_error: Literal["raise", "passthrough"] = "raise",
        pruner: Pruner | None = None,
    ) -> None:
        self._saved: dict[str, Any] = {
            "top_k": top_k,
            "score_threshold": score_threshold,
            "threshold": threshold,
            "target_recall": target_recall,
            "max_tokens": max_tokens,
            "reorder": reorder,
            "drop_empty": drop_empty,
            "joiner": joiner,
            "title_key": title_key,
            "truncate_query": truncate_query,
            "model": model,
            "backend": backend,
            "device": device,
            "threads": threads,
            "url": url,
            "timeout_s": timeout_s,
            "on_error": on_error,
        }
        self.api_key = api_key
        self._settings = SecateurPrunerSettings(**self._saved)
        # Without a model at hand, the engine waits for the key, which need not be there before it is used.
        self._engine: Engine | None = None if pruner is None else Engine(self._settings, pruner)

    def to_dict(self) -> dict[str, Any]:
        """Return what a pipeline is saved with: the key only as the name of its variable."""
        key = self.api_key.to_dict() if self.api_key is not None else None
        return default_to_dict(self, **self._saved, api_key=key)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SecateurPruner:
        """Return the component that `to_dict` has saved."""
        given = data.get("init_parameters", {})
        if isinstance(given.get("api_key"), dict):
            data = {**data, "init_parameters": {**given, "api_key": Secret.from_dict(given["api_key"])}}
        found: SecateurPruner = default_from_dict(cls, data)
        return found

    def warm_up(self) -> None:
        """Load the model, or make the client; `run` does it too."""
        self._ready().warm_up()

    def _ready(self) -> Engine:
        if self._engine is None:
            key = self.api_key.resolve_value() if self._settings.url and self.api_key is not None else None
            key = header_key(key)
            secret = SecretStr(key) if key is not None else None
            self._engine = Engine(self._settings.model_copy(update={"api_key": secret}))
        return self._engine

    def _passages(self, documents: list[Document], naming: Naming) -> list[Passage]:
        chosen = [documents[position] for position in naming.positions or ()]
        return [as_passage(document.content, document.meta, self._settings.title_key) for document in chosen]

    def _options(self, top_k: int | None, score_threshold: float | None) -> dict[str, Any]:
        options = self._settings.options()
        if top_k is not None:
            options["top_n"] = top_k
        if score_threshold is not None:
            options["min_score"] = score_threshold
        return options

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, Any]:
        """Prune and rerank documents for a query.

        Args:
            query: the user's question.
            documents: retrieved ones; none at all gives none.
            top_k: instead of the component's.
            score_threshold: instead of the component's.

        Raises:
            InputError: the query or an option is wrong.
            ServiceError: the service did not answer.
        """
        if not documents:
            return {"documents": []}
        naming = _without_duplicates(documents)
        with naming.errors():
            options = self._options(top_k, score_threshold)
            result = self._ready().prune(query, self._passages(documents, naming), **options)
        return {"documents": _pruned(documents, naming.result(result))}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, Any]:
        """Prune and rerank documents without blocking the event loop; see `run`."""
        if not documents:
            return {"documents": []}
        naming = _without_duplicates(documents)
        with naming.errors():
            options = self._options(top_k, score_threshold)
            result = await self._ready().aprune(query, self._passages(documents, naming), **options)
        return {"documents": _pruned(documents, naming.result(result))}


def _without_duplicates(documents: list[Document]) -> Naming:
    """Return which documents are pruned: one of each id, with the highest score, as Haystack's own rankers choose."""
    chosen: dict[str, int] = {}
    for position, document in enumerate(documents):
        best = chosen.get(document.id)
        if best is None or _retrieval_score(document) > _retrieval_score(documents[best]):
            chosen[document.id] = position
    return Naming(_NAMES, tuple(chosen.values()))


def _retrieval_score(document: Document) -> float:
    return document.score if document.score is not None else -math.inf


def _pruned(documents: list[Document], result: PruneResult) -> list[Document]:
    pruned = []
    for item in result.results:
        document = documents[item.index]
        meta = described(document.meta, document.content, item, result)
        score = meta.pop("relevance_score", document.score)
        meta["secateur"]["retrieval_score"] = document.score
        content = None if document.content is None else item.text
        pruned.append(replace(document, content=content, meta=meta, score=score))
    return pruned
