"""What rerank dialects share."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, Discriminator, Field, StrictBool, Tag

from secateur.models.errors import InputError
from secateur.models.types import Passage, PassageResult, PruneOptions, PruneRequest, PruneResult
from secateur.service.schemas import CleanBody, Number, Whole

_LEAST = 1e-7  # of a probability whose logit is asked for


class DocumentBody(BaseModel, extra="allow"):
    """A document as an object."""

    text: str | None = Field(None, description="What is ranked and pruned.")


def _document_tag(value: object) -> str:
    return "string" if isinstance(value, str) else "object"


Document = Annotated[
    Annotated[str, Tag("string")] | Annotated[DocumentBody, Tag("object")], Discriminator(_document_tag)
]


class RerankBody(CleanBody):
    """Body of a rerank request. Unknown fields are ignored; null means unset."""

    model: str | None = Field(
        None, description="Name of a served model. Any other name, as clients must send one, gets the default model."
    )
    query: str = Field(description="The user's question.")
    documents: list[Document] = Field(description="Retrieved documents: strings, or objects with `text`.")
    top_n: Whole | None = Field(None, ge=0, description="Return only the n most relevant; default, and 0: all.")
    return_documents: StrictBool | None = Field(None, description="Return the documents too; default false.")
    threshold: Number | None = Field(None, description="Secateur's own: units with at least this score are kept.")
    target_recall: Number | None = Field(None, description="Secateur's own: share of answers to keep, instead.")

    def texts(self) -> list[str]:
        """Return what is ranked of each document.

        Raises:
            InputError: an object has no text.
        """
        found = []
        for index, document in enumerate(self.documents):
            text = document if isinstance(document, str) else document.text
            if text is None:
                raise InputError(f"documents[{index}].text", "is missing", "give the document's text")
            found.append(text)
        return found

    def document(self, index: int) -> dict[str, Any]:
        """Return a document as an object with all that it came with."""
        document = self.documents[index]
        return {"text": document} if isinstance(document, str) else document.model_dump(exclude_none=True)

    def not_applied(self, *names: str) -> tuple[str, ...]:
        """Return a warning for each of these fields that was given: they would change what is read, or when."""
        given = [name for name in names if getattr(self, name) is not None]
        return tuple(f"{name}: not applied, documents are read whole and in turn" for name in given)

    def request(self, *, units: bool = False, threshold: float | None = None, keep_title: bool = True) -> PruneRequest:
        """Return it as the library's type.

        Args:
            units: return each unit with its score.
            threshold: in place of the body's own.
            keep_title: see `PruneOptions`.
        """
        options = PruneOptions(
            threshold=self.threshold if threshold is None else threshold,
            target_recall=self.target_recall,
            top_n=self.top_n or None,
            keep_title=keep_title,
            return_units=units,
            truncate_query=True,  # what else could a client do that cannot ask for it
        )
        return PruneRequest(self.query, tuple(map(Passage, self.texts())), options)


def logit(probability: float) -> float:
    """Return the logit of a probability; of 0 and 1 that of their neighbours."""
    inside = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(inside / (1 - inside))


def tokens(result: PruneResult) -> int:
    """Return the tokens that were read."""
    return result.usage.query_tokens + result.usage.input_tokens


def span_scores(result: PassageResult) -> list[dict[str, Any]]:
    """Return the kept spans of a passage, best first, each with the score of its best unit."""
    spans = []
    for start, end in result.spans:
        best = max(unit.score for unit in result.units or () if unit.start < end and unit.end > start)
        spans.append({"start": start, "end": end, "score": best})
    return sorted(spans, key=lambda span: -span["score"])
