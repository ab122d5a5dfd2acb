"""What rerank dialects share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, Field, Tag, WithJsonSchema

from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.types import Passage, PassageResult, PruneRequest, PruneResult
from secateur.service.settings import Settings
from secateur.service.validation import STRING_OR_OBJECT, CleanBody

_LEAST = 1e-7  # of a probability whose logit is asked for

# Read as pydantic does by default, since the services that these dialects stand for do: "true" and 1 are true, "3" is
# 3. The schema says what is taken; NaN in quotes is no number here either.
_IN_QUOTES = {"type": "string"}
Flag = Annotated[bool, WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "integer"}, _IN_QUOTES]})]
Whole = Annotated[int, WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "boolean"}, _IN_QUOTES]})]
Real = Annotated[
    float,
    Field(allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "boolean"}, _IN_QUOTES]}),
]


class DocumentBody(BaseModel, extra="allow"):
    """A document as an object."""

    text: str | None = Field(None, description="What is ranked and pruned.")

    def given(self) -> dict[str, Any]:
        """Return all that it came with, not copied."""
        text = {"text": self.text} if "text" in self.model_fields_set else {}
        return {**text, **(self.model_extra or {})}


Document = Annotated[Annotated[str, Tag("string")] | Annotated[DocumentBody, Tag("object")], STRING_OR_OBJECT]


class RerankBody(CleanBody):
    """Body of a rerank request. Unknown fields are ignored; null means unset."""

    model: str | None = Field(
        None, description="Name of a served model. Any other name, as clients must send one, gets the default model."
    )
    query: str = Field(description="The user's question.")
    documents: list[Document] = Field(description="Retrieved documents: strings, or objects with `text`.")
    top_n: Whole | None = Field(
        None,
        ge=0,
        description="Return only the n most relevant; default, and 0: all.",
        json_schema_extra={"minimum": 0},
    )
    return_documents: Flag | None = Field(None, description="Return the documents too; default false.")
    threshold: Real | None = Field(None, description="Secateur's own: units with at least this score are kept.")
    target_recall: Real | None = Field(None, description="Secateur's own: share of answers to keep, instead.")

    def texts(self) -> Iterator[str]:
        """Yield what is ranked of each document.

        Raises:
            InputError: an object has no text.
        """
        for index, document in enumerate(self.documents):
            text = document if isinstance(document, str) else document.text
            if text is None:
                raise InputError(f"documents[{index}].text", "is missing", "give the document's text")
            yield text

    def document(self, index: int) -> dict[str, Any]:
        """Return a document as an object with all that it came with."""
        document = self.documents[index]
        return {"text": document} if isinstance(document, str) else document.given()

    def not_applied(self, *names: str) -> tuple[str, ...]:
        """Return a warning for each of these fields that was given: they would change what is read, or when."""
        given = [name for name in names if getattr(self, name) is not None]
        return tuple(f"{name}: not applied, documents are read whole and in turn" for name in given)

    def request(
        self, settings: Settings, *, units: bool = False, threshold: float | None = None, keep_title: bool = True
    ) -> PruneRequest:
        """Return it as the library's type.

        Args:
            settings: of the service, whose limit holds while texts are made.
            units: return each unit with its score.
            threshold: in place of the body's own.
            keep_title: see `PruneOptions`.

        Raises:
            InputError: a document has no text, or they have too many characters together.
        """
        options = PruneOptions(
            threshold=self.threshold if threshold is None else threshold,
            target_recall=self.target_recall,
            top_n=self.top_n or None,
            keep_title=keep_title,
            return_units=units,
            truncate_query=True,  # what else could a client do that cannot ask for it
        )
        passages = []
        left = settings.max_characters
        for text in self.texts():
            left -= len(text)
            if left < 0:
                raise InputError(
                    "documents",
                    f"have more than {settings.max_characters} characters together",
                    "send fewer, or several requests",
                )
            passages.append(Passage(text))
        return PruneRequest(self.query, tuple(passages), options)


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
    units = result.units or ()
    first = 0  # unit that may touch the span; both lists ascend
    for start, end in result.spans:
        while units[first].end <= start:
            first += 1
        last = first
        while last + 1 < len(units) and units[last + 1].start < end:
            last += 1
        best = max(unit.score for unit in units[first : last + 1])
        spans.append({"start": start, "end": end, "score": best})
        first = last
    return sorted(spans, key=lambda span: -span["score"])
