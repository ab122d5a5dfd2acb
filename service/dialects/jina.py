"""The rerank API of Jina, as vLLM and Infinity have it too, and version 1 of Cohere's, which shares a path with it.

Sources: https://api.jina.ai/redoc, https://docs.vllm.ai (Re-rank API), https://github.com/michaelfeil/infinity,
https://docs.cohere.com/v1/reference/rerank
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from secateur.models.errors import InputError, shown
from secateur.models.types import PruneResult
from secateur.service.dialects.cohere import meta
from secateur.service.dialects.common import Flag, RerankBody, Whole, logit, tokens


class JinaBody(RerankBody):
    """Body of `POST /rerank` with `documents`."""

    raw_scores: Flag | None = Field(None, description="Return logits in place of probabilities (Infinity).")


class CohereV1Body(RerankBody):
    """Body of `POST /v1/rerank`, as Cohere's version 1 and Jina send it."""

    rank_fields: list[str] | None = Field(
        None, max_length=100, description="Of documents that are objects: what is ranked."
    )
    max_chunks_per_doc: Whole | None = Field(None, description="Not applied: documents are read whole.")

    def texts(self) -> Iterator[str]:
        """Yield what is ranked of each document: its text, or a line for each of `rank_fields` that it has.

        Raises:
            InputError: a document has none of them.
        """
        # Once each: their number times that of the documents is the client's choice, their text is not.
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
            lines = [f"{name}: {_plain(given[name])}" for name in names if given[name] is not None]
            if not lines:
                raise InputError(f"documents[{index}]", f"has none of {shown(self.rank_fields)}", "give one of them")
            yield "\n".join(lines)


def _plain(value: Any) -> str:
    """Return a field's value as text: what is no string as the JSON that it came as."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


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
