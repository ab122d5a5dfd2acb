"""Cohere's rerank API, version 2 with `relevant_spans`. Version 1 is in `jina`, since both share a path.

Source: https://docs.cohere.com/reference/rerank
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from secateur.models.types import PruneResult
from secateur.service.dialects.common import PRUNED_TEXT, Real, RerankBody, Whole, read_tokens, span_scores


class RelevantSpans(BaseModel):
    """Options for the returned spans."""

    mode: Literal["enabled", "disabled"] = Field(description="Whether to return relevant spans.")
    threshold: Real | None = Field(
        None,
        ge=0,
        le=1,
        description="Lowest score of a span, in [0, 1]; the model's threshold if unset.",
        json_schema_extra={"minimum": 0, "maximum": 1},
    )
    max_spans: Whole | None = Field(
        None, ge=1, description="Largest number of spans per document; all if unset.", json_schema_extra={"minimum": 1}
    )


class CohereSpan(BaseModel):
    """A kept span."""

    start: int = Field(description="Start offset in code points, inclusive.")
    end: int = Field(description="End offset in code points, exclusive.")
    score: float = Field(description="Keep probability of the best unit of the span.")


class CohereResult(BaseModel):
    """A ranked document."""

    index: int = Field(description="Position of the document in the request, from 0.")
    relevance_score: float = Field(description="Relevance of the document, in [0, 1].")
    document: dict[str, Any] | None = Field(None, description="The document, only with return_documents.")
    relevant_spans: list[CohereSpan] | None = Field(
        None, description="Relevant spans, best first; only if they are requested and there are any."
    )
    pruned_text: str = PRUNED_TEXT


class CohereResponse(BaseModel):
    """Response of `POST /v2/rerank`."""

    id: str = Field(description="Id of the response.")
    results: list[CohereResult] = Field(description="Ranked documents, the most relevant first.")
    meta: dict[str, Any] = Field(description="API version, token counts and warnings.")


class CohereBody(RerankBody):
    """Body of `POST /v2/rerank`."""

    response: ClassVar[Any] = CohereResponse
    ignored: ClassVar[tuple[str, ...]] = ("max_tokens_per_doc", "priority")

    max_tokens_per_doc: Whole | None = Field(
        None, ge=1, description="Not applied: documents are read completely.", json_schema_extra={"minimum": 1}
    )
    priority: Whole | None = Field(None, description="Not applied: requests are served in order of arrival.")
    relevant_spans: RelevantSpans | None = Field(None, description="Options for the spans to return.")

    @property
    def spans(self) -> RelevantSpans | None:
        """The options for spans, if spans are requested."""
        return self.relevant_spans if self.relevant_spans and self.relevant_spans.mode == "enabled" else None

    def options(self) -> dict[str, Any]:
        """Return the options of the request."""
        options = super().options()
        if self.spans is None:
            return options
        if self.spans.threshold is not None:
            options["threshold"] = self.spans.threshold
        return options | {"return_units": True}

    def content(self, model: str, result: PruneResult, warnings: Sequence[str]) -> dict[str, Any]:
        """Return the content of a `CohereResponse`."""
        ranked = self.ranked(result)
        if self.spans is not None:
            for content, item in zip(ranked, result.results, strict=True):
                # Spans with a lower score are kept as structure, or are the best of a relevant document.
                spans = [span for span in span_scores(item) if span["score"] >= result.threshold]
                if spans:
                    content["relevant_spans"] = spans[: self.spans.max_spans]
        return {"id": str(uuid.uuid4()), "results": ranked, "meta": meta("2", result, warnings)}


def meta(version: str, result: PruneResult, warnings: Sequence[str]) -> dict[str, Any]:
    """Return Cohere's metadata of a response."""
    return {
        "api_version": {"version": version},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": read_tokens(result), "output_tokens": result.usage.output_tokens},
        **({"warnings": list(warnings)} if warnings else {}),
    }
