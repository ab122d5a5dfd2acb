"""Answers of a service, none of which is trusted: types and ranges by pydantic, then what must fit together."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateur.client.errors import BadResponseError, RequestRefusedError, ServiceError, ServiceUnavailableError
from secateur.client.messages import Hide, one_line, quoted, shown_value, without_secrets
from secateur.client.wire import Part
from secateur.models.options import PruneOptions
from secateur.models.selection import join_spans
from secateur.models.types import PassageResult, PruneRequest, PruneResult, Timings, UnitKind, UnitScore, Usage

_PASSAGE_INDEX = re.compile(r"^passages\[([0-9]{1,9})\]")
_ROUNDING = 1e-6  # of a threshold that the service keeps as float32
_HINTS = {401: "; give a valid api_key, or set SECATEUR_API_KEY", 404: "; fix the url or the model"}

_Count = Annotated[int, Field(ge=0)]
_Probability = Annotated[float, Field(ge=0, le=1)]
_Milliseconds = Annotated[float, Field(ge=0)]
T = TypeVar("T", bound="_Strict")
_Item = TypeVar("_Item")
# Without `fail_fast`, a long list of wrong values would become as many errors.
_List = Annotated[list[_Item], Field(fail_fast=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Unit(_Strict):
    start: _Count
    end: _Count
    kind: UnitKind
    score: _Probability
    kept: bool
    tokens: _Count


class _Result(_Strict):
    index: _Count
    score: _Probability
    text: str
    spans: _List[tuple[int, int]]
    kept_units: _Count
    total_units: _Count
    empty: bool
    units: _List[_Unit] | None = None


class _Usage(_Strict):
    query_tokens: _Count
    input_tokens: _Count
    output_tokens: _Count
    compression: _Probability


class _Timings(_Strict):
    queue_ms: _Milliseconds
    tokenize_ms: _Milliseconds
    inference_ms: _Milliseconds
    total_ms: _Milliseconds


class _PruneAnswer(_Strict):
    results: _List[_Result]
    threshold: _Probability
    usage: _Usage
    timings: _Timings
    warnings: _List[str]


class _Model(_Strict):
    id: str


class _ModelsAnswer(_Strict):
    data: _List[_Model]


class _HealthAnswer(_Strict):
    status: str
    models: _List[str]
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a service answers.

    Attributes:
        ready: whether requests can be served.
        model: name of the model for requests that name none.
        models: names of all served models.
    """

    ready: bool
    model: str | None
    models: tuple[str, ...]


class _InconsistentError(Exception):
    """A value of an answer does not fit the request or the rest of the answer."""

    def __init__(self, field: str, value: object, reason: str) -> None:
        super().__init__(field)
        self.field = field
        self.value = value
        self.reason = reason


def _parse(kind: type[T], content: bytes, hide: Hide, route: str) -> T:
    """Return an answer as a model of pydantic.

    Raises:
        BadResponseError: it is malformed. It has no cause, because errors of pydantic hold the answer.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        problem = f"is not JSON: {quoted(content, hide)}"
    else:
        names = [f"[{name}]" if isinstance(name, int) else f".{name}" for name in first["loc"]]
        field = f"`{''.join(names).removeprefix('.')}`" if names else "it"
        value = "missing" if first["type"] == "missing" else f"{shown_value(first['input'], hide)}; {first['msg']}"
        problem = f"is malformed: {field} is {value}"
    raise BadResponseError(f"the service's answer {problem}{route}", status=200)


def read_result(content: bytes, request: PruneRequest, part: Part, hide: Hide = str, route: str = "") -> PruneResult:
    """Read an answer of `/v1/prune`.

    Args:
        content: body of the answer.
        request: the request that the part belongs to.
        part: the part that was sent.
        hide: removes the secrets from a text.
        route: route to the service, for messages.

    Raises:
        BadResponseError: the answer is malformed, or does not fit the request; the message names the field.
    """
    answer = _parse(_PruneAnswer, content, hide, route)
    options = request.options
    try:
        results = tuple(
            _checked_result(result, f"results[{number}]", part, options) for number, result in enumerate(answer.results)
        )
        _check_choice(results, part, options)
        if options.threshold is not None and abs(answer.threshold - options.threshold) > _ROUNDING:
            raise _InconsistentError("threshold", answer.threshold, f"{options.threshold!r} was given")
        if answer.usage.output_tokens > answer.usage.input_tokens:
            raise _InconsistentError("usage.output_tokens", answer.usage.output_tokens, "there are fewer input tokens")
        return PruneResult(
            results=results,
            threshold=answer.threshold,
            usage=Usage(**dict(answer.usage)),
            timings=Timings(**dict(answer.timings)),
            warnings=tuple(_shifted(one_line(warning, hide), part.offset) for warning in answer.warnings),
        )
    except _InconsistentError as error:
        problem = f"`{error.field}` is {shown_value(error.value, hide)}; {error.reason}"
    raise BadResponseError(f"the service's answer is wrong: {problem}{route}", status=200)


def _checked_result(result: _Result, path: str, part: Part, options: PruneOptions) -> PassageResult:
    if result.index >= len(part.passages):
        raise _InconsistentError(f"{path}.index", result.index, f"{len(part.passages)} passages were sent")
    passage = part.passages[result.index]
    _check_spans(result.spans, len(passage.text), f"{path}.spans")
    length = sum(end - start for start, end in result.spans) + len(options.joiner) * max(0, len(result.spans) - 1)
    # The length is compared first, because a long joiner can make the joined text far longer than the answer.
    if len(result.text) != length or result.text != join_spans(passage.text, result.spans, options.joiner):
        raise _InconsistentError(f"{path}.text", result.text, "it is not the text of its spans")
    if not result.kept_units <= result.total_units <= len(passage.text):
        problem = f"{result.total_units} units in {len(passage.text)} characters"
        raise _InconsistentError(f"{path}.kept_units", result.kept_units, problem)
    if result.kept_units < len(result.spans):
        raise _InconsistentError(f"{path}.kept_units", result.kept_units, f"there are {len(result.spans)} spans")
    if result.empty is bool(result.spans):
        raise _InconsistentError(f"{path}.empty", result.empty, f"there are {len(result.spans)} spans")
    units = result.units or [] if options.return_units else None
    if units is not None:
        _check_spans([(unit.start, unit.end) for unit in units], len(passage.text), f"{path}.units")
        if [len(units), sum(unit.kept for unit in units)] != [result.total_units, result.kept_units]:
            problem = f"there should be {result.total_units} units, of which {result.kept_units} are kept"
            raise _InconsistentError(f"{path}.units", len(units), problem)
    return PassageResult(
        index=part.offset + result.index,
        id=passage.id,
        score=result.score,
        text=result.text,
        spans=tuple(result.spans),
        kept_units=result.kept_units,
        total_units=result.total_units,
        empty=result.empty,
        metadata=passage.metadata,
        units=None if units is None else tuple(UnitScore(**dict(unit)) for unit in units),
    )


def _check_spans(spans: Sequence[tuple[int, int]], length: int, path: str) -> None:
    """Check that spans are ascending, non-overlapping, not empty, and inside a text of a length."""
    after = 0
    for number, (start, end) in enumerate(spans):
        if not after <= start < end <= length:
            reason = f"it is not a span in [{after}, {length}], the rest of the text"
            raise _InconsistentError(f"{path}[{number}]", [start, end], reason)
        after = end


def _check_choice(results: Sequence[PassageResult], part: Part, options: PruneOptions) -> None:
    """Check that the answer has the passages that the options ask for, as far as the client can know."""
    seen: set[int] = set()
    for number, result in enumerate(results):
        if result.index in seen:
            raise _InconsistentError(f"results[{number}].index", result.index - part.offset, "it occurs twice")
        seen.add(result.index)
        if options.min_score is not None and result.score < options.min_score:
            raise _InconsistentError(f"results[{number}].score", result.score, "it is below min_score")
        if options.drop_empty and result.empty:
            raise _InconsistentError(f"results[{number}].empty", result.empty, "drop_empty was given")
    most = min(options.top_n or len(part.passages), len(part.passages))
    fewest = 0 if options.drop_empty or options.min_score is not None else most
    if not fewest <= len(results) <= most:
        raise _InconsistentError("results", f"a list of {len(results)}", f"{most} of the passages were expected")


def read_models(content: bytes, hide: Hide, route: str) -> tuple[str, ...]:
    """Read an answer of `/v1/models`.

    Raises:
        BadResponseError: it is malformed.
    """
    return tuple(model.id for model in _parse(_ModelsAnswer, content, hide, route).data)


def read_health(status: int, content: bytes, hide: Hide, route: str) -> Health:
    """Read an answer of `/health/ready`, which may have any status.

    Raises:
        ServiceError: it is not such an answer.
    """
    try:
        answer = _parse(_HealthAnswer, content, hide, route)
    except BadResponseError:
        if status == 200:
            raise
        answer = None
    if answer is None:
        raise read_error(status, content, hide=hide)
    return Health(answer.status == "ready" and status == 200, answer.model, tuple(answer.models))


def _shifted(text: str, offset: int) -> str:
    """Return a message with its passage's index in the caller's list in place of that in a part."""
    return _PASSAGE_INDEX.sub(lambda match: f"passages[{int(match[1]) + offset}]", text)


def read_error(status: int, content: bytes, offset: int = 0, hide: Hide = str) -> ServiceError:
    """Return the error of an answer with a bad status.

    Args:
        status: status of the answer.
        content: its body.
        offset: index of the request's first passage in the caller's list.
        hide: removes the secrets from a text.
    """
    details: dict[str, Any] = {}
    try:
        found = without_secrets(json.loads(content), hide)
        details = found if isinstance(found, dict) else {}
    except (ValueError, RecursionError):
        pass  # the body is quoted
    detail = details.get("detail")
    said = _shifted(one_line(detail, hide), offset) if isinstance(detail, str) else quoted(content, hide)
    if status >= 500 or status == 429:
        message = f"the service answered with status {status}: {said}"
        return ServiceUnavailableError(message, status=status, details=details)
    if status == 422:
        errors = details.get("errors")
        match errors:
            case [{"field": str(field), "problem": str(problem), "hint": str(hint)}, *_]:
                field, problem, hint = (one_line(text, hide) for text in (field, problem, hint))
                return RequestRefusedError(_shifted(field, offset), problem, hint, status=status, details=details)
    if not isinstance(detail, str) and not 400 <= status < 500:
        return BadResponseError(f"the service answered with status {status}: {said}", status=status)
    message = f"the service refused with status {status}: {said}{_HINTS.get(status, '')}"
    return ServiceError(message, status=status, details=details)
