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
    """A field of an answer does not fit the request or the rest of the answer; with its value and the reason."""


def _require(fits: bool, field: str, value: object, reason: str) -> None:
    if not fits:
        raise _InconsistentError(field, value, reason)


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
        wanted = answer.threshold if options.threshold is None else options.threshold
        _require(abs(answer.threshold - wanted) <= _ROUNDING, "threshold", answer.threshold, f"{wanted!r} was given")
        usage = answer.usage
        fits = usage.output_tokens <= usage.input_tokens
        _require(fits, "usage.output_tokens", usage.output_tokens, f"there are {usage.input_tokens} input tokens")
        return PruneResult(
            results=results,
            threshold=answer.threshold,
            usage=Usage(**dict(usage)),
            timings=Timings(**dict(answer.timings)),
            warnings=tuple(_shifted(one_line(warning, hide), part.offset) for warning in answer.warnings),
        )
    except _InconsistentError as error:
        field, value, reason = error.args
        problem = f"`{field}` is {shown_value(value, hide)}; {reason}"
    raise BadResponseError(f"the service's answer is wrong: {problem}{route}", status=200)


def _checked_result(result: _Result, path: str, part: Part, options: PruneOptions) -> PassageResult:
    sent = len(part.passages)
    _require(result.index < sent, f"{path}.index", result.index, f"{sent} passages were sent")
    passage, spans = part.passages[result.index], result.spans
    _check_spans(spans, len(passage.text), f"{path}.spans")
    # The length is compared first, because a long joiner can make the joined text far longer than the answer.
    length = sum(end - start for start, end in spans) + len(options.joiner) * max(0, len(spans) - 1)
    same = len(result.text) == length and result.text == join_spans(passage.text, spans, options.joiner)
    _require(same, f"{path}.text", result.text, "it is not the text of its spans")
    kept, total = result.kept_units, result.total_units
    _require(total <= len(passage.text), f"{path}.total_units", total, f"there are {len(passage.text)} characters")
    counts = f"there are {len(spans)} spans and {total} units"
    _require(len(spans) <= kept <= total, f"{path}.kept_units", kept, counts)
    _require(result.empty is not bool(spans), f"{path}.empty", result.empty, counts)
    units = result.units or [] if options.return_units else None
    if units is not None:
        _check_spans([(unit.start, unit.end) for unit in units], len(passage.text), f"{path}.units")
        found = [len(units), sum(unit.kept for unit in units)]
        _require(found == [total, kept], f"{path}.units", found, f"{total} units, {kept} of them kept, were announced")
    return PassageResult(
        index=part.offset + result.index,
        id=passage.id,
        score=result.score,
        text=result.text,
        spans=tuple(spans),
        kept_units=kept,
        total_units=total,
        empty=result.empty,
        metadata=passage.metadata,
        units=None if units is None else tuple(UnitScore(**dict(unit)) for unit in units),
    )


def _check_spans(spans: Sequence[tuple[int, int]], length: int, path: str) -> None:
    """Check that spans are ascending, non-overlapping, not empty, and inside a text of a length."""
    after = 0
    for number, (start, end) in enumerate(spans):
        fits = after <= start < end <= length
        _require(
            fits, f"{path}[{number}]", [start, end], f"it is not a span of the rest of the text, [{after}, {length}]"
        )
        after = end


def _check_choice(results: Sequence[PassageResult], part: Part, options: PruneOptions) -> None:
    """Check that the answer has the passages that the options ask for, as far as the client can know."""
    seen: set[int] = set()
    for number, result in enumerate(results):
        path = f"results[{number}]"
        _require(result.index not in seen, f"{path}.index", result.index - part.offset, "it occurs twice")
        seen.add(result.index)
        _require(result.score >= (options.min_score or 0), f"{path}.score", result.score, "it is below min_score")
        _require(not (options.drop_empty and result.empty), f"{path}.empty", result.empty, "drop_empty was given")
    most = min(options.top_n or len(part.passages), len(part.passages))
    fewest = 0 if options.drop_empty or options.min_score is not None else most
    count = f"a list of {len(results)}"
    _require(fewest <= len(results) <= most, "results", count, f"{most} of the passages were expected")


def read_models(content: bytes, hide: Hide, route: str) -> tuple[str, ...]:
    """Read an answer of `/v1/models`, or raise a `BadResponseError`."""
    return tuple(model.id for model in _parse(_ModelsAnswer, content, hide, route).data)


def read_health(status: int, content: bytes, hide: Hide, route: str) -> Health:
    """Read an answer of `/health/ready`, which may have any status, or raise a `ServiceError`."""
    try:
        answer = _parse(_HealthAnswer, content, hide, route)
    except BadResponseError as error:
        problem: ServiceError = error if status == 200 else read_error(status, content, hide=hide)
        raise problem from None
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
    match status, details.get("errors"):
        case 422, [{"field": str(field), "problem": str(problem), "hint": str(hint)}, *_]:
            field, problem, hint = (one_line(text, hide) for text in (field, problem, hint))
            return RequestRefusedError(_shifted(field, offset), problem, hint, status=status, details=details)
    if not isinstance(detail, str) and not 400 <= status < 500:
        return BadResponseError(f"the service answered with status {status}: {said}", status=status)
    message = f"the service refused with status {status}: {said}{_HINTS.get(status, '')}"
    return ServiceError(message, status=status, details=details)
