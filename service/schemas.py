"""The native API's request and response bodies."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from secateur.models.requests import MAX_JOINER
from secateur.models.types import Passage, PruneOptions, PruneRequest
from secateur.service.validation import STRING_OR_OBJECT, CleanBody

EXAMPLE: JsonDict = {
    "query": "When was the Eiffel Tower finished?",
    "passages": [
        "The Eiffel Tower is a lattice tower in Paris. It was completed in March 1889. Millions visit it every year.",
        {"id": "b", "title": "Louvre", "text": "The Louvre is a museum. It opened in 1793."},
    ],
}

EXAMPLE_RESPONSE: JsonDict = {
    "id": "prune-5f0c3c1e8a7b4d0b9f3e",
    "model": "secateur-nano-en",
    "results": [
        {
            "index": 0,
            "id": None,
            "score": 0.99,
            "text": "It was completed in March 1889.",
            "spans": [[46, 77]],
            "kept_units": 1,
            "total_units": 3,
            "empty": False,
            "metadata": None,
        },
        {
            "index": 1,
            "id": "b",
            "score": 0.01,
            "text": "",
            "spans": [],
            "kept_units": 0,
            "total_units": 2,
            "empty": True,
            "metadata": None,
        },
    ],
    "threshold": 0.1,
    "usage": {"query_tokens": 9, "input_tokens": 36, "output_tokens": 7, "compression": 0.81},
    "timings": {"queue_ms": 0.1, "tokenize_ms": 0.5, "inference_ms": 9.4, "total_ms": 10.1},
    "warnings": [],
}


def _numeric(value: object) -> object:
    """Refuse what pydantic would take for a number though JSON has numbers of its own: true, and "3"."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


Number = Annotated[float, BeforeValidator(_numeric)]
Whole = Annotated[int, BeforeValidator(_numeric)]

# What the library checks, with its own messages, and the schema is to say.
_SHARE: JsonDict = {"minimum": 0, "maximum": 1}
_COUNT: JsonDict = {"minimum": 1}
_NOT_BOTH: JsonDict = {
    "required": ["threshold", "target_recall"],
    "properties": {"threshold": {"type": "number"}, "target_recall": {"type": "number"}},
}


class PassageBody(BaseModel):
    """A passage with what belongs to it."""

    text: str = Field(description="What is pruned; offsets in the response are Unicode code points of it.")
    id: StrictStr | StrictInt | None = Field(None, description="Returned unchanged.")
    title: str | None = Field(None, description="Read by the model as context; never part of the pruned text.")
    format: str | None = Field(
        None,
        description="How to segment the text; default and so far only value: text.",
        json_schema_extra={"enum": ["text", None]},
    )
    metadata: dict[str, Any] | None = Field(None, description="Returned unchanged.")

    def passage(self) -> Passage:
        """Return it as the library's type."""
        return Passage(self.text, self.id, self.title, self.format or "text", self.metadata)


PassageLike = Annotated[Annotated[str, Tag("string")] | Annotated[PassageBody, Tag("object")], STRING_OR_OBJECT]


class PruneBody(CleanBody):
    """Body of `POST /v1/prune`. Unknown fields are ignored; null means unset."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE], "not": _NOT_BOTH})

    query: str = Field(description="The user's question.", json_schema_extra={"pattern": r"\S"})
    passages: list[PassageLike] = Field(
        description="Retrieved passages: strings or objects.", json_schema_extra={"minItems": 1}
    )
    threshold: Number | None = Field(
        None, description="Keep units with at least this probability, in [0, 1].", json_schema_extra=_SHARE
    )
    target_recall: Number | None = Field(
        None, description="Instead of a threshold: share of answers to keep.", json_schema_extra=_SHARE
    )
    max_tokens: Whole | None = Field(
        None, description="Token budget over all returned passages together, at least 1.", json_schema_extra=_COUNT
    )
    top_n: Whole | None = Field(
        None, description="Return only the n most relevant passages, at least 1.", json_schema_extra=_COUNT
    )
    min_score: Number | None = Field(
        None, description="Return only passages at least this relevant, in [0, 1].", json_schema_extra=_SHARE
    )
    min_units: Whole | None = Field(
        None, description="Keep at least this many units of each passage; default 0.", json_schema_extra={"minimum": 0}
    )
    reorder: StrictBool | None = Field(None, description="Order passages by relevance; default true.")
    keep_title: StrictBool | None = Field(None, description="Keep a leading heading beside kept units; default true.")
    drop_empty: StrictBool | None = Field(
        None, description="Leave out passages of which nothing is kept; default false."
    )
    joiner: str | None = Field(
        None,
        description="Put where units were dropped; default one space.",
        json_schema_extra={"maxLength": MAX_JOINER},
    )
    return_units: StrictBool | None = Field(None, description="Return every unit with its score; default false.")
    truncate_query: StrictBool | None = Field(None, description="Cut an over-long query, not refuse it; default false.")
    model: str | None = Field(None, description="Name of a served model; default: the only one.")

    def request(self) -> PruneRequest:
        """Return it as the library's type."""
        given = self.model_dump(exclude={"query", "passages", "model"}, exclude_none=True)
        passages = tuple(Passage(p) if isinstance(p, str) else p.passage() for p in self.passages)
        return PruneRequest(self.query, passages, PruneOptions(**given))


class UnitOut(BaseModel):
    """A unit with its keep probability."""

    start: int
    end: int
    kind: str = Field(examples=["sentence"])
    score: float
    kept: bool
    tokens: int


class ResultOut(BaseModel):
    """A pruned passage."""

    index: int = Field(description="Position in the request's list.")
    id: str | int | None
    score: float = Field(description="Relevance, in [0, 1].")
    text: str = Field(description="The kept spans, joined.")
    spans: list[tuple[int, int]] = Field(description="Kept [start, end) spans of the original text.")
    kept_units: int
    total_units: int
    empty: bool
    metadata: dict[str, Any] | None
    units: list[UnitOut] | None = Field(None, description="Only with return_units.")


class UsageOut(BaseModel):
    """Token counts by the model's tokenizer."""

    query_tokens: int
    input_tokens: int
    output_tokens: int
    compression: float


class TimingsOut(BaseModel):
    """Durations in milliseconds."""

    queue_ms: float
    tokenize_ms: float
    inference_ms: float
    total_ms: float


class PruneResponse(BaseModel):
    """Body of the response of `POST /v1/prune`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_RESPONSE]})

    id: str = Field(examples=["prune-5f0c3c1e8a7b4d0b9f3e"])
    model: str = Field(examples=["secateur-nano-en"])
    results: list[ResultOut]
    threshold: float = Field(description="That was used: given, of the target recall, or the model's own.")
    usage: UsageOut
    timings: TimingsOut
    warnings: list[str]
