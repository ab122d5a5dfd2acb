"""The native API's request and response bodies, and the JSON of answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, Tag, create_model
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError, to_json

from secateur.models.options import Option, PruneOptions, option_table
from secateur.models.segmentation import AUTO, FORMATS
from secateur.models.types import DropReason, Passage, PassageResult, PruneRequest, PruneResult, Reason, UnitKind
from secateur.service.json_body import STRING_OR_OBJECT, StrictBody

EXAMPLE: JsonDict = {
    "query": "When was the Eiffel Tower finished?",
    "passages": [
        "The Eiffel Tower is a lattice tower in Paris. It was completed in March 1889. Millions visit it every year.",
        {"id": "b", "title": "Louvre", "text": "The Louvre is a museum. It opened in 1793."},
    ],
}

_TEXT = "It was completed in March 1889."
_KEPT: JsonDict = {"text": _TEXT, "spans": [[46, 77]], "line_spans": [[1, 1]], "format": "text"}
_KEPT |= {"kept_units": 1, "total_units": 3, "empty": False}
_DROPPED: JsonDict = {"text": "", "spans": [], "line_spans": [], "format": "text"}
_DROPPED |= {"kept_units": 0, "total_units": 2, "empty": True}
EXAMPLE_RESPONSE: JsonDict = {
    "id": "prune-5f0c3c1e8a7b4d0b9f3e",
    "model": "secateur-nano-en",
    "results": [
        {"index": 0, "id": None, "score": 0.99, **_KEPT, "metadata": None},
        {"index": 1, "id": "b", "score": 0.01, **_DROPPED, "metadata": None},
    ],
    "threshold": 0.1,
    "usage": {"query_tokens": 9, "input_tokens": 36, "output_tokens": 7, "compression": 0.81},
    "timings": {"queue_ms": 0.1, "tokenize_ms": 0.5, "inference_ms": 9.4, "total_ms": 10.1},
    "warnings": [],
}


def _numeric(value: object) -> object:
    """Refuse true and "3", which pydantic would convert to numbers."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


_KINDS: dict[type, Any] = {
    bool: StrictBool,
    int: Annotated[int, BeforeValidator(_numeric)],
    float: Annotated[float, BeforeValidator(_numeric)],
    str: str,
}

REASONS: dict[Reason | DropReason, str] = {
    "score": "its score is high enough",
    "always": "it matches `always_keep`",
    "head": "it is among the first units",
    "tail": "it is among the last units",
    "neighbour": "it is next to a kept unit",
    "structure": "a kept unit needs it to be read",
    "relevant passage": "it is the best unit of a relevant passage",
    "unreadable": "the model cannot read the passage or the query",
    "never": "dropped, since it matches `never_keep`",
    "duplicate": "dropped, since a more relevant passage already says it",
    "budget": "dropped, since it did not fit into the token budget",
}
"""What the reasons of units mean."""


def _meanings(meanings: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"`{name}`: {meaning}." for name, meaning in meanings)


class PassageBody(BaseModel):
    """A passage with its properties."""

    text: str = Field(description="Text to prune. Offsets in the response are Unicode code points of this text.")
    id: StrictStr | StrictInt | None = Field(None, description="Id of the passage, returned unchanged.")
    title: str | None = Field(
        None, description="Title that the model reads as context. It is never part of the pruned text."
    )
    format: str | None = Field(
        None,
        description="Format of the text, which decides how it is cut into units. "
        f"{_meanings((name, one.description) for name, one in FORMATS.items())} Default: {AUTO}.",
        json_schema_extra={"enum": [*FORMATS, None]},
    )
    metadata: dict[str, Any] | None = Field(None, description="Arbitrary metadata, returned unchanged.")

    def passage(self) -> Passage:
        """Return the passage as the library's type."""
        return Passage(self.text, self.id, self.title, self.format or AUTO, self.metadata)


PassageLike = Annotated[Annotated[str, Tag("string")] | Annotated[PassageBody, Tag("object")], STRING_OR_OBJECT]


def option_field(option: Option) -> Any:
    """Return the type and the field of an option. The schema documents the range; the library checks it."""
    schema: JsonDict = {**option.schema}
    default = "" if option.default is None else f" Default: {json.dumps(option.default)}."
    kind = _KINDS[option.kind]
    if option.many:  # without `fail_fast`, a long list of wrong entries would become as many errors
        kind = Annotated[list[kind], Field(fail_fast=True)]  # type: ignore[valid-type]
    return kind | None, Field(None, description=option.description + default, json_schema_extra=schema)


class _PruneBody(StrictBody):
    query: str = Field(description="Question or instruction of the user.", json_schema_extra={"pattern": r"\S"})
    passages: list[PassageLike] = Field(
        description="Retrieved passages, as strings or objects.", json_schema_extra={"minItems": 1}
    )


if TYPE_CHECKING:
    _WithOptions = _PruneBody
else:
    _WithOptions = create_model(
        "_WithOptions", __base__=_PruneBody, **{name: option_field(option) for name, option in option_table().items()}
    )


def _both(first: str, second: str) -> JsonDict:
    """Return the schema of a body with two numbers."""
    return {"required": [first, second], "properties": {first: {"type": "number"}, second: {"type": "number"}}}


_EXCLUSIVE: JsonDict = {"anyOf": [_both("threshold", "target_recall"), _both("compression", "max_tokens")]}


class PruneBody(_WithOptions):
    """Body of `POST /v1/prune`. Unknown fields are ignored; null means unset."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE], "not": _EXCLUSIVE})

    model: str | None = Field(None, description="Name of a served model; the default model if unset.")

    def prune_request(self) -> PruneRequest:
        """Return the request as the library's type."""
        options = self.model_dump(exclude={"query", "passages", "model"}, exclude_none=True)
        passages = tuple(Passage(p) if isinstance(p, str) else p.passage() for p in self.passages)
        return PruneRequest(self.query, passages, PruneOptions(**options))


class UnitOut(BaseModel):
    """A unit with its keep probability."""

    start: int = Field(description="Start offset in code points, inclusive.")
    end: int = Field(description="End offset in code points, exclusive.")
    kind: UnitKind = Field(description="Kind of the unit.", examples=["sentence"])
    score: float = Field(description="Keep probability, in [0, 1].")
    kept: bool = Field(description="Whether the unit is part of the pruned text.")
    reason: Reason | DropReason | None = Field(
        description="Reason why the unit is kept or dropped; null if its score is too low. "
        f"{_meanings(REASONS.items())}"
    )
    tokens: int = Field(description="Number of tokens of the unit.")


class ResultOut(BaseModel):
    """A pruned passage."""

    index: int = Field(description="Position of the passage in the request, from 0.")
    id: str | int | None = Field(description="Id of the passage in the request.")
    score: float = Field(description="Relevance of the passage, in [0, 1].")
    text: str = Field(description="Pruned text: the kept spans, with the joiner or gap marker between them.")
    spans: list[tuple[int, int]] = Field(description="Kept spans of the original text, as [start, end) code points.")
    line_spans: list[tuple[int, int]] = Field(description="First and last line of each span, counted from 1.")
    format: str = Field(
        description="Format by which the text was cut into units.",
        json_schema_extra={"enum": [name for name in FORMATS if name != AUTO]},
    )
    kept_units: int = Field(description="Number of kept units.")
    total_units: int = Field(description="Number of all units.")
    empty: bool = Field(description="Whether no unit was kept.")
    metadata: dict[str, Any] | None = Field(description="Metadata of the passage in the request.")
    units: list[UnitOut] | None = Field(None, description="All units of the passage, only with return_units.")


class UsageOut(BaseModel):
    """Token counts of the model's tokenizer."""

    query_tokens: int = Field(description="Number of tokens of the query.")
    input_tokens: int = Field(description="Number of tokens of all passages.")
    output_tokens: int = Field(description="Number of tokens of all pruned texts, markers and joiners included.")
    compression: float = Field(description="Share of the input tokens that were dropped, in [0, 1].")


class TimingsOut(BaseModel):
    """Durations in milliseconds."""

    queue_ms: float = Field(description="Time in the queue.")
    tokenize_ms: float = Field(description="Time for segmentation and tokenization.")
    inference_ms: float = Field(description="Time from the first to the last run of the model.")
    total_ms: float = Field(description="Time from admission to the answer.")


class PruneResponse(BaseModel):
    """Response of `POST /v1/prune`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_RESPONSE]})

    id: str = Field(description="Id of the response.", examples=["prune-5f0c3c1e8a7b4d0b9f3e"])
    model: str = Field(description="Name of the model used.", examples=["secateur-nano-en"])
    results: list[ResultOut] = Field(description="Pruned passages, the most relevant first unless reorder is false.")
    threshold: float = Field(description="Threshold used: from the request, the target recall, or the model.")
    usage: UsageOut = Field(description="Token counts.")
    timings: TimingsOut = Field(description="Durations.")
    warnings: list[str] = Field(description="Changes made to the request, and text that the model cannot read.")


_SLICE = 1000  # spans or units per call of the encoder, which blocks all other threads

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def as_json(content: Any) -> str:
    """Return compact JSON. The items of a list at the top, or of one in an object there, are encoded one by one."""
    if isinstance(content, list):
        return f"[{','.join(map(_ENCODER.encode, content))}]"
    if isinstance(content, dict):
        values = (as_json(value) if isinstance(value, list) else _ENCODER.encode(value) for value in content.values())
        return f"{{{','.join(map('{}:{}'.format, map(_ENCODER.encode, content), values))}}}"
    return _ENCODER.encode(content)


def prune_json(model: str, body: PruneBody, result: PruneResult, **first: Any) -> str:
    """Return the JSON of a `PruneResponse`, with the fields ``first`` before all others."""
    head = {**first, "id": f"prune-{uuid.uuid4().hex[:20]}", "model": model}
    tail = {
        "threshold": result.threshold,
        "usage": asdict(result.usage),
        "timings": asdict(result.timings),
        "warnings": [*body.warnings, *result.warnings],
    }
    results = ",".join(map(_result, result.results))
    return f'{_ENCODER.encode(head)[:-1]},"results":[{results}],{as_json(tail)[1:]}'


def _result(item: PassageResult) -> str:
    head = {"index": item.index, "id": item.id, "score": item.score, "text": item.text}
    spans = f'"spans":{_sliced(item.spans)},"line_spans":{_sliced(item.line_spans)}'
    tail = {
        "format": item.format,
        "kept_units": item.kept_units,
        "total_units": item.total_units,
        "empty": item.empty,
        "metadata": item.metadata,
    }
    units = "" if item.units is None else f',"units":{_sliced(item.units)}'
    return f"{_ENCODER.encode(head)[:-1]},{spans},{_ENCODER.encode(tail)[1:-1]}{units}}}"


def _sliced(items: Sequence[Any]) -> str:
    """Return the JSON of spans or units, which have the fields of `UnitOut`."""
    slices = (items[start : start + _SLICE] for start in range(0, len(items), _SLICE))
    return f"[{','.join(to_json(part)[1:-1].decode() for part in slices)}]"
