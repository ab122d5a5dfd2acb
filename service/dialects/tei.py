"""The rerank API of Text Embeddings Inference (TEI).

Source: https://huggingface.github.io/text-embeddings-inference
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from secateur.models.merging import logit
from secateur.models.options import PruneOptions
from secateur.models.types import Passage, PruneRequest, PruneResult
from secateur.service.batching.engine import Engine
from secateur.service.dialects.common import PRUNED_TEXT, RAW_SCORES, DialectBody, Flag
from secateur.service.settings import Settings


class TEIBody(DialectBody):
    """Body of a rerank request with `texts`."""

    ignored: ClassVar[tuple[str, ...]] = ("truncation_direction",)

    texts: list[str] = Field(description="Texts to rank.")
    raw_scores: Flag | None = RAW_SCORES
    return_text: Flag | None = Field(None, description="Whether to return the texts. Default: false.")
    truncate: Flag | None = Field(
        None, description="Whether to shorten an overlong query instead of refusing it. Default: true."
    )
    truncation_direction: str | None = Field(None, description="Not applied: a query loses its end.")

    def prune_request(self, settings: Settings) -> PruneRequest:
        """Return the request as the library's type."""
        options = PruneOptions(
            threshold=self.threshold, target_recall=self.target_recall, truncate_query=self.truncate is not False
        )
        return PruneRequest(self.query, tuple(map(Passage, self.texts)), options)

    def content(self, model: str, result: PruneResult, warnings: Sequence[str]) -> list[dict[str, Any]]:
        """Return the contents of `TEIResult`s, the most relevant first. They have no place for warnings."""
        return [
            {
                "index": item.index,
                "score": logit(item.score) if self.raw_scores else item.score,
                **({"text": self.texts[item.index]} if self.return_text else {}),
                "pruned_text": item.text,
            }
            for item in result.results
        ]


class TEIResult(BaseModel):
    """A ranked text."""

    index: int = Field(description="Position of the text in the request, from 0.")
    score: float = Field(description="Relevance of the text, in [0, 1]; its logit with raw_scores.")
    text: str | None = Field(None, description="The text, only with return_text.")
    pruned_text: str = PRUNED_TEXT


def tei_info(engine: Engine, settings: Settings) -> dict[str, Any]:
    """Return the description of a model for `GET /info`."""
    backend = engine.pruner.backend
    return {
        "model_id": engine.name,
        "model_sha": None,
        "model_dtype": backend.precision,
        "served_model_name": engine.name,
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        # Tokens are limited, not requests: this many requests of one full window fit into the queue.
        "max_concurrent_requests": settings.max_queue_tokens // engine.pruner.config.window,
        "max_input_length": engine.pruner.config.window,
        "max_batch_tokens": engine.step_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_passages,
        "auto_truncate": True,
        "tokenization_workers": engine.workers,
        "version": version("secateur"),
        "sha": None,
        "docker_label": None,
    }
