"""Parts shared by the rerank dialects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field, Tag, WithJsonSchema

from secateur.models.checkpoint import ModelConfig
from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.types import Passage, PassageResult, PruneRequest, PruneResult
from secateur.service.json_body import STRING_OR_OBJECT, StrictBody, check_limit
from secateur.service.settings import Settings

# Validated leniently, as the services do that use pydantic's defaults: "true" and 1 are true, "3" is 3. The schema
# shows the accepted types. NaN in quotes is not a number here either.
_QUOTED = {"type": "string"}
Flag = Annotated[bool, WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "integer"}, _QUOTED]})]
Whole = Annotated[int, WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "boolean"}, _QUOTED]})]
Real = Annotated[
    float,
    Field(allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "boolean"}, _QUOTED]}),
]

RAW_SCORES = Field(None, description="Whether to return logits instead of probabilities. Default: false.")
PRUNED_TEXT = Field(description="Secateur extension: kept spans of the text, joined.")

WARNINGS_HEADER = "X-Secateur-Warnings"
_MAX_WARNINGS = 10  # in the header
_PASSAGE = re.compile(r"^passages(\[\d+\])?(\.text)?")


def renamed(field: str, name: str) -> str:
    """Return a field of a native request, or a message that begins with one, by the name of the texts in a dialect."""
    return _PASSAGE.sub(lambda found: name + (found[1] or ""), field)


def warnings_header(warnings: Sequence[str]) -> dict[str, str]:
    """Return the header with warnings, for answers that have no place for them; without warnings, no header."""
    if not warnings:
        return {}
    more = len(warnings) - _MAX_WARNINGS
    told = [*warnings[:_MAX_WARNINGS], *([f"and {more} more"] if more > 0 else [])]
    return {WARNINGS_HEADER: " | ".join(told).encode("ascii", "backslashreplace").decode()}


class DocumentBody(BaseModel, extra="allow"):
    """A document as an object."""

    text: str | None = Field(None, description="Text to rank and prune.")

    def given(self) -> dict[str, Any]:
        """Return all fields of the request, not copied."""
        text = {"text": self.text} if "text" in self.model_fields_set else {}
        return {**text, **(self.model_extra or {})}


Document = Annotated[Annotated[str, Tag("string")] | Annotated[DocumentBody, Tag("object")], STRING_OR_OBJECT]


class DialectBody(StrictBody):
    """What the bodies of all dialects share. Unknown fields are ignored; null means unset."""

    ignored: ClassVar[tuple[str, ...]] = ()
    """Fields of the dialect that have no effect here."""

    query: str = Field(description="Question or instruction of the user.")
    instruction: str | None = Field(
        None,
        description="Instruction for ranking, put before the query. If the model was not trained with instructions, it "
        "is not applied, with a warning.",
    )
    threshold: Real | None = Field(
        None, description="Secateur extension: lowest score of a kept unit; the model's threshold if unset."
    )
    target_recall: Real | None = Field(
        None, description="Secateur extension: share of answering units to keep, instead of a threshold."
    )

    def instructed(self, request: PruneRequest, model: ModelConfig) -> PruneRequest:
        """Return the request with the instruction before its query, if the model was trained so."""
        if not (model.instruction and self._has_instruction and request.query.strip()):
            return request
        return replace(request, query=f"{self.instruction}\n{request.query}")

    @property
    def _has_instruction(self) -> bool:
        return bool(self.instruction and self.instruction.strip())

    def told(self, result: PruneResult, model: ModelConfig, texts: str) -> list[str]:
        """Return the warnings about the request and its result.

        Args:
            result: The result.
            model: Configuration of the model.
            texts: Name of the field with the texts.
        """
        warnings = [*self.warnings, *(renamed(warning, texts) for warning in result.warnings)]
        if self._has_instruction and not model.instruction:
            warnings.append(f"instruction: not applied; model {model.name!r} was not trained with instructions")
        given = [name for name in self.ignored if getattr(self, name) is not None]
        return [*warnings, *(f"{name}: not applied; texts are read completely and in order" for name in given)]


class RerankBody(DialectBody):
    """Body of a rerank request with `documents`."""

    response: ClassVar[Any]

    model: str | None = Field(
        None,
        description="Name of a served model. Clients must send some name, so an unknown one means the default model.",
    )
    documents: list[Document] = Field(description="Retrieved documents, as strings or as objects with `text`.")
    top_n: Whole | None = Field(
        None,
        ge=0,
        description="Largest number of returned documents, the most relevant first; all if unset or 0.",
        json_schema_extra={"minimum": 0},
    )
    return_documents: Flag | None = Field(None, description="Whether to return the documents. Default: false.")

    def texts(self) -> Iterator[str]:
        """Yield the text to rank of each document, which must have one."""
        for index, document in enumerate(self.documents):
            text = document if isinstance(document, str) else document.text
            if text is None:
                raise InputError(f"documents[{index}].text", "is missing", "give the document's text")
            yield text

    def document(self, index: int) -> Any:
        """Return a document as the response contains it: an object with all its fields."""
        document = self.documents[index]
        return {"text": document} if isinstance(document, str) else document.given()

    def prune_request(self, settings: Settings) -> PruneRequest:
        """Return the request as the library's type. The limit on characters is checked while texts are made."""
        passages: list[Passage] = []
        characters = 0
        for text in self.texts():
            characters += len(text)
            check_limit("documents", characters, "characters", settings.max_characters)
            passages.append(Passage(text))
        return PruneRequest(self.query, tuple(passages), PruneOptions(**self.options()))

    def options(self) -> dict[str, Any]:
        """Return the options of the request."""
        return {
            "threshold": self.threshold,
            "target_recall": self.target_recall,
            "top_n": self.top_n or None,
            "truncate_query": True,  # these clients have no way to ask for it
        }

    def ranked(self, result: PruneResult) -> list[dict[str, Any]]:
        """Return the ranked documents with the fields that all dialects share."""
        return [
            {
                "index": item.index,
                "relevance_score": item.score,
                **({"document": self.document(item.index)} if self.return_documents else {}),
                "pruned_text": item.text,
            }
            for item in result.results
        ]


def read_tokens(result: PruneResult) -> int:
    """Return the number of tokens of the query and all passages."""
    return result.usage.query_tokens + result.usage.input_tokens


def span_scores(result: PassageResult) -> list[dict[str, Any]]:
    """Return the kept spans of a passage, best first, each with the score of its best unit."""
    spans = []
    units = result.units or ()
    first = 0  # unit that may overlap the span; both lists ascend
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
