"""The native API's request and response bodies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    create_model,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from secateur.models.options import Option, PruneOptions, option_table
from secateur.models.segmentation import FORMATS
from secateur.models.types import Passage, PruneRequest
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
        None, description="Format of the text. Default: text.", json_schema_extra={"enum": [*FORMATS, None]}
    )
    metadata: dict[str, Any] | None = Field(None, description="Returned unchanged.")

    def passage(self) -> Passage:
        """Return it as the library's type."""
        return Passage(self.text, self.id, self.title, self.format or "text", self.metadata)


PassageLike = Annotated[Annotated[str, Tag("string")] | Annotated[PassageBody, Tag("object")], STRING_OR_OBJECT]


_KINDS: dict[type, Any] = {bool: StrictBool, int: Whole, float: Number, str: str}


def _option_field(option: Option) -> Any:
    """Return type and field of an option. The library checks the range, in its own words; the schema tells it."""
    low, high = ("minLength", "maxLength") if option.kind is str else ("minimum", "maximum")
    schema: JsonDict = {
        name: limit for name, limit in ((low, option.minimum), (high, option.maximum)) if limit is not None
    }
    if option.choices:
        schema["enum"] = [*option.choices, None]
    default = "" if option.default is None else f" Default: {json.dumps(option.default)}."
    return _KINDS[option.kind] | None, Field(None, description=option.description + default, json_schema_extra=schema)


class _Asked(CleanBody):
    query: str = Field(description="The user's question.", json_schema_extra={"pattern": r"\S"})
    passages: list[PassageLike] = Field(
        description="Retrieved passages: strings or objects.", json_schema_extra={"minItems": 1}
    )


if TYPE_CHECKING:
    _WithOptions = _Asked
else:
    _WithOptions = create_model(
        "_WithOptions", __base__=_Asked, **{name: _option_field(option) for name, option in option_table().items()}
    )


class PruneBody(_WithOptions):
    """Body of `POST /v1/prune`. Unknown fields are ignored; null means unset."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE], "not": _NOT_BOTH})

    model: str | None = Field(None, description="Name of a served model. Default: the default model.")

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
