"""The rerank API of Text Embeddings Inference (TEI).

Source: https://huggingface.github.io/text-embeddings-inference
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, Field

from secateur.models.options import PruneOptions
from secateur.models.types import Passage, PruneRequest, PruneResult
from secateur.service.batching.engine import Engine
from secateur.service.dialects.common import Flag, Real, logit
from secateur.service.settings import Settings
from secateur.service.validation import CleanBody


class TEIBody(CleanBody):
    """Body of a rerank request with `texts`. Unknown fields are ignored; null means unset."""

    query: str = Field(description="The user's question.")
    texts: list[str] = Field(description="What is ranked.")
    raw_scores: Flag | None = Field(None, description="Return logits in place of probabilities; default false.")
    return_text: Flag | None = Field(None, description="Return the texts too; default false.")
    truncate: Flag | None = Field(
        None, description="Cut an over-long query, not refuse it; default true. Texts are read whole in any case."
    )
    truncation_direction: str | None = Field(None, description="Not applied: a query loses its end.")
    threshold: Real | None = Field(None, description="Secateur's own: units with at least this score are kept.")
    target_recall: Real | None = Field(None, description="Secateur's own: share of answers to keep, instead.")

    def request(self) -> PruneRequest:
        """Return it as the library's type."""
        options = PruneOptions(
            threshold=self.threshold, target_recall=self.target_recall, truncate_query=self.truncate is not False
        )
        return PruneRequest(self.query, tuple(map(Passage, self.texts)), options)


class TEIResult(BaseModel):
    """A ranked text."""

    index: int = Field(description="Position in the request's list.")
    score: float = Field(description="In [0, 1]; a logit with raw_scores.")
    text: str | None = Field(None, description="Only with return_text.")
    pruned_text: str = Field(description="Secateur's own: what is worth reading of the text.")


def tei_content(body: TEIBody, result: PruneResult) -> list[dict[str, Any]]:
    """Return the contents of `TEIResult`s, by falling relevance."""
    return [
        {
            "index": item.index,
            "score": logit(item.score) if body.raw_scores else item.score,
            **({"text": body.texts[item.index]} if body.return_text else {}),
            "pruned_text": item.text,
        }
        for item in result.results
    ]


def tei_info(engine: Engine, settings: Settings) -> dict[str, Any]:
    """Return what `GET /info` says of a model."""
    backend = engine.pruner.backend
    return {
        "model_id": engine.name,
        "model_sha": None,
        "model_dtype": backend.precision,
        "served_model_name": engine.name,
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        # Tokens are bounded, not requests: so many of one full window may wait.
        "max_concurrent_requests": engine.limits.max_queue_tokens // engine.pruner.config.window,
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
