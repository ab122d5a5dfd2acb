"""The rerank API of Jina, as vLLM and Infinity have it too, and version 1 of Cohere's, which shares a path with it.

Sources: https://api.jina.ai/redoc, https://docs.vllm.ai (Re-rank API), https://github.com/michaelfeil/infinity,
https://docs.cohere.com/v1/reference/rerank
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from pydantic import BaseModel, Field, StrictBool

from secateur.models.errors import InputError
from secateur.models.types import PruneResult
from secateur.service.dialects.cohere import meta
from secateur.service.dialects.common import RerankBody, logit, tokens
from secateur.service.schemas import Whole


class JinaBody(RerankBody):
    """Body of `POST /rerank` with `documents`."""

    raw_scores: StrictBool | None = Field(None, description="Return logits in place of probabilities (Infinity).")


class CohereV1Body(RerankBody):
    """Body of `POST /v1/rerank`, as Cohere's version 1 and Jina send it."""

    rank_fields: list[str] | None = Field(None, description="Of documents that are objects: what is ranked.")
    max_chunks_per_doc: Whole | None = Field(None, description="Not applied: documents are read whole.")

    def texts(self) -> list[str]:
        """Return what is ranked of each document: its text, or a line for each of `rank_fields` that it has.

        Raises:
            InputError: a document has none of them.
        """
        if not self.rank_fields or self.rank_fields == ["text"]:
            return super().texts()
        found = []
        for index, document in enumerate(self.documents):
            if isinstance(document, str):
                found.append(document)
                continue
            fields = document.model_dump()
            lines = [f"{name}: {fields[name]}" for name in self.rank_fields if fields.get(name) is not None]
            if not lines:
                raise InputError(f"documents[{index}]", f"has none of {self.rank_fields}", "give one of them")
            found.append("\n".join(lines))
        return found


class JinaResult(BaseModel):
    """A ranked document."""

    index: int = Field(description="Position in the request's list.")
    relevance_score: float = Field(description="In [0, 1]; a logit with raw_scores.")
    document: dict[str, Any] | str | None = Field(None, description="Only with return_documents.")
    pruned_text: str = Field(description="Secateur's own: what is worth reading of the document.")


class JinaResponse(BaseModel):
    """Body of the response of `POST /rerank` with `documents`, and of `POST /v1/rerank`."""

    id: str
    object: str = Field(examples=["rerank"])
    model: str
    created: int = Field(description="Seconds since 1970.")
    results: list[JinaResult] = Field(description="By falling relevance.")
    usage: dict[str, int]
    meta: dict[str, Any] | None = Field(None, description="Only on `/v1/rerank`, where Cohere's clients read it.")


def jina_content(body: RerankBody, model: str, result: PruneResult, *, plain: bool = False) -> dict[str, Any]:
    """Return the content of a `JinaResponse`.

    Args:
        body: of the request.
        model: that answered.
        result: of it.
        plain: documents are returned as strings, as Infinity does, not as objects, as all others do.
    """
    raw = isinstance(body, JinaBody) and bool(body.raw_scores)
    results = []
    for item in result.results:
        content: dict[str, Any] = {"index": item.index, "relevance_score": logit(item.score) if raw else item.score}
        if body.return_documents:
            document = body.document(item.index)
            content["document"] = document["text"] if plain else document
        results.append({**content, "pruned_text": item.text})
    found = {
        "id": f"rerank-{uuid.uuid4().hex[:20]}",
        "object": "rerank",
        "model": model,
        "created": int(time.time()),
        "results": results,
        "usage": {"prompt_tokens": tokens(result), "total_tokens": tokens(result)},
    }
    if isinstance(body, CohereV1Body):
        found["meta"] = meta("1", result, (*body.warnings, *result.warnings, *body.not_applied("max_chunks_per_doc")))
    return found
