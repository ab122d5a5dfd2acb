"""Cohere's rerank API, version 2 with `relevant_spans`. Version 1 is in `jina`, whose path it shares.

Source: https://docs.cohere.com/reference/rerank
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import BaseModel, Field

from secateur.models.types import PruneRequest, PruneResult
from secateur.service.dialects.common import Real, RerankBody, Whole, span_scores
from secateur.service.settings import Settings


class RelevantSpans(BaseModel):
    """What to return of each document."""

    mode: Literal["enabled", "disabled"] = Field(description="Whether to return relevant spans.")
    threshold: Real | None = Field(
        None,
        ge=0,
        le=1,
        description="Least score of a span, in [0, 1]; default: the model's.",
        json_schema_extra={"minimum": 0, "maximum": 1},
    )
    max_spans: Whole | None = Field(
        None, ge=1, description="Most spans of a document; default: all.", json_schema_extra={"minimum": 1}
    )


class CohereBody(RerankBody):
    """Body of `POST /v2/rerank`."""

    max_tokens_per_doc: Whole | None = Field(
        None, ge=1, description="Not applied: documents are read whole.", json_schema_extra={"minimum": 1}
    )
    priority: Whole | None = Field(None, description="Not applied: first come, first served.")
    relevant_spans: RelevantSpans | None = Field(None, description="Return the spans that are worth reading.")

    @property
    def spans(self) -> RelevantSpans | None:
        """The spans that are asked for, if they are."""
        wanted = self.relevant_spans
        return wanted if wanted is not None and wanted.mode == "enabled" else None

    def prune_request(self, settings: Settings) -> PruneRequest:
        """Return it as the library's type; see `RerankBody.request`."""
        if self.spans is None:
            return self.request(settings)
        return self.request(settings, units=True, threshold=self.spans.threshold, keep_title=False)


def meta(version: str, result: PruneResult, warnings: tuple[str, ...]) -> dict[str, Any]:
    """Return what Cohere says of a request."""
    return {
        "api_version": {"version": version},
        "billed_units": {"search_units": 1},
        "tokens": {
            "input_tokens": result.usage.query_tokens + result.usage.input_tokens,
            "output_tokens": result.usage.output_tokens,
        },
        **({"warnings": list(warnings)} if warnings else {}),
    }


class CohereSpan(BaseModel):
    """A span that is worth reading."""

    start: int
    end: int
    score: float


class CohereResult(BaseModel):
    """A ranked document."""

    index: int = Field(description="Position in the request's list.")
    relevance_score: float = Field(description="In [0, 1].")
    document: dict[str, Any] | None = Field(None, description="Only with return_documents.")
    relevant_spans: list[CohereSpan] | None = Field(
        None, description="Best first, in Unicode code points; only where they are asked for and there are any."
    )
    pruned_text: str = Field(description="Secateur's own: what is worth reading of the document.")


class CohereResponse(BaseModel):
    """Body of the response of `POST /v2/rerank`."""

    id: str
    results: list[CohereResult] = Field(description="By falling relevance.")
    meta: dict[str, Any]


def cohere_content(body: CohereBody, result: PruneResult) -> dict[str, Any]:
    """Return the content of a `CohereResponse`."""
    results = []
    for item in result.results:
        content: dict[str, Any] = {"index": item.index, "relevance_score": item.score}
        if body.return_documents:
            content["document"] = body.document(item.index)
        if body.spans is not None and item.spans:
            content["relevant_spans"] = span_scores(item)[: body.spans.max_spans]
        results.append({**content, "pruned_text": item.text})
    warnings = (*body.warnings, *result.warnings, *body.not_applied("max_tokens_per_doc", "priority"))
    return {"id": str(uuid.uuid4()), "results": results, "meta": meta("2", result, warnings)}
