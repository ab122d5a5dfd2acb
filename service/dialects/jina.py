"""The rerank API of Jina, also that of vLLM and Infinity, and version 1 of Cohere's, which shares a path with it.

Sources: https://api.jina.ai/redoc, https://docs.vllm.ai (Re-rank API), https://github.com/michaelfeil/infinity,
https://docs.cohere.com/v1/reference/rerank
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from secateur.models.errors import InputError, shown
from secateur.models.merging import logit
from secateur.models.types import PruneResult
from secateur.service.dialects.cohere import meta
from secateur.service.dialects.common import PRUNED_TEXT, RAW_SCORES, Flag, RerankBody, Whole, read_tokens


class JinaResult(BaseModel):
    """A ranked document."""

    index: int = Field(description="Position of the document in the request, from 0.")
    relevance_score: float = Field(description="Relevance of the document, in [0, 1]; its logit with raw_scores.")
    document: dict[str, Any] | str | None = Field(None, description="The document, only with return_documents.")
    pruned_text: str = PRUNED_TEXT


class JinaResponse(BaseModel):
    """Response of `POST /rerank` with `documents`, and of `POST /v1/rerank`."""

    id: str = Field(description="Id of the response.")
    object: str = Field(description="Kind of the response.", examples=["rerank"])
    model: str = Field(description="Name of the model used.")
    created: int = Field(description="Time of the response, in seconds since 1970.")
    results: list[JinaResult] = Field(description="Ranked documents, the most relevant first.")
    usage: dict[str, int] = Field(description="Token counts.")
    meta: dict[str, Any] | None = Field(None, description="Metadata for Cohere's clients, only from `/v1/rerank`.")


class _Body(RerankBody):
    response: ClassVar[Any] = JinaResponse

    def content(self, model: str, result: PruneResult, warnings: Sequence[str]) -> dict[str, Any]:
        """Return the content of a `JinaResponse`, which has no place for warnings."""
        return {
            "id": f"rerank-{uuid.uuid4().hex[:20]}",
            "object": "rerank",
            "model": model,
            "created": int(time.time()),
            "results": self.ranked(result),
            "usage": {"prompt_tokens": read_tokens(result), "total_tokens": read_tokens(result)},
        }


class JinaBody(_Body):
    """Body of `POST /rerank` with `documents`."""

    raw_scores: Flag | None = RAW_SCORES

    def ranked(self, result: PruneResult) -> list[dict[str, Any]]:
        """Return the ranked documents."""
        ranked = super().ranked(result)
        if self.raw_scores:
            for content in ranked:
                content["relevance_score"] = logit(content["relevance_score"])
        return ranked


class InfinityBody(JinaBody):
    """Body of `POST /infinity/rerank`."""

    def document(self, index: int) -> Any:
        """Return a document as a string."""
        return super().document(index)["text"]


class CohereV1Body(_Body):
    """Body of `POST /v1/rerank`, from clients of Cohere's version 1 or of Jina."""

    ignored: ClassVar[tuple[str, ...]] = ("max_chunks_per_doc",)

    rank_fields: list[str] | None = Field(
        None, max_length=100, description="Names of the fields to rank, for documents that are objects."
    )
    max_chunks_per_doc: Whole | None = Field(None, description="Not applied: documents are read completely.")

    def texts(self) -> Iterator[str]:
        """Yield the text to rank of each document: its text, or one line for each of its `rank_fields`."""
        # Without repetitions: the client chooses the number of fields times documents, but their text is limited.
        places = {name: place for place, name in enumerate(dict.fromkeys(self.rank_fields or ()))}
        if not places or places.keys() == {"text"}:
            yield from super().texts()
            return
        for index, document in enumerate(self.documents):
            if isinstance(document, str):
                yield document
                continue
            given = document.given()
            names = sorted(given.keys() & places.keys(), key=places.__getitem__)
            values = ((name, given[name]) for name in names if given[name] is not None)
            lines = [
                f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
                for name, value in values
            ]
            if not lines:
                raise InputError(f"documents[{index}]", f"has none of {shown(self.rank_fields)}", "give one of them")
            yield "\n".join(lines)

    def content(self, model: str, result: PruneResult, warnings: Sequence[str]) -> dict[str, Any]:
        """Return the content of a `JinaResponse` with Cohere's metadata."""
        return super().content(model, result, warnings) | {"meta": meta("1", result, warnings)}
