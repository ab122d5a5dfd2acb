"""From a `PruneRequest` to bodies of `/v1/prune`, and from answers, trusted in nothing, to a `PruneResult`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from secateur.client.errors import BadResponseError, RequestRefusedError, ServiceError, ServiceUnavailableError
from secateur.models.errors import shown
from secateur.models.types import (
    Passage,
    PassageResult,
    PruneOptions,
    PruneRequest,
    PruneResult,
    Timings,
    UnitScore,
    Usage,
)

# A part of a request: small enough for the deadline of a service on a few cores, large enough that a request more
# costs nothing beside it.
PART_PASSAGES = 1_000
PART_CHARACTERS = 500_000

_PASSAGE_INDEX = re.compile(r"^passages\[(\d+)\]")
_SHOWN = 80  # characters of an answer that a message quotes


@dataclass(frozen=True, slots=True)
class Part:
    """What one HTTP request asks: some neighbouring passages.

    Attributes:
        offset: index of the first in the caller's list.
        passages: at least one.
    """

    offset: int
    passages: tuple[Passage, ...]


def split(request: PruneRequest) -> list[Part]:
    """Cut a request into parts.

    One with `max_tokens` or `top_n`, which compare all passages, stays whole.
    """
    if request.options.max_tokens is not None or request.options.top_n is not None:
        return [Part(0, request.passages)]
    parts: list[Part] = []
    start = characters = 0
    for index, passage in enumerate(request.passages):
        length = len(passage.text) + len(passage.title or "")
        if index > start and (index - start == PART_PASSAGES or characters + length > PART_CHARACTERS):
            parts.append(Part(start, request.passages[start:index]))
            start, characters = index, 0
        characters += length
    return [*parts, Part(start, request.passages[start:])]


def body(request: PruneRequest, part: Part, model: str | None) -> bytes:
    """Return the JSON that asks for a part; ids and metadata stay here, where the answer's index finds them."""
    options = request.options
    given = {f.name: getattr(options, f.name) for f in fields(PruneOptions) if getattr(options, f.name) != f.default}
    if model is not None:
        given["model"] = model
    passages = [_passage(passage) for passage in part.passages]
    return json.dumps({"query": request.query, "passages": passages, **given}, default=_plain).encode()


def _passage(passage: Passage) -> str | dict[str, str]:
    if passage.title is None and passage.format == "text":
        return passage.text
    title = {} if passage.title is None else {"title": passage.title}
    return {"text": passage.text, "format": passage.format, **title}


def _plain(value: Any) -> Any:
    """Return a numpy number, which options may be, as Python's."""
    return value.item()


class _Malformed(Exception):
    """The answer is not what the protocol says."""


def _get(content: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    value = content.get(name) if isinstance(content, dict) else None
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, kind):
        raise _Malformed(f"`{name}` is {shown(value)}")
    return value


def _number(content: Any, name: str) -> float:
    return float(_get(content, name, (int, float)))


def _unit(content: Any) -> UnitScore:
    return UnitScore(
        start=_get(content, "start", int),
        end=_get(content, "end", int),
        kind=_get(content, "kind", str),
        score=_number(content, "score"),
        kept=_get(content, "kept", bool),
        tokens=_get(content, "tokens", int),
    )


def _span(content: Any, length: int) -> tuple[int, int]:
    match content:
        case [int(start), int(end)] if 0 <= start < end <= length:
            return start, end
    raise _Malformed(f"span {shown(content)} is not in a text of {length} characters")


def _result(content: Any, part: Part, units: bool) -> PassageResult:
    index = _get(content, "index", int)
    if not 0 <= index < len(part.passages):
        raise _Malformed(f"`index` is {index} of {len(part.passages)} passages")
    passage = part.passages[index]
    return PassageResult(
        index=part.offset + index,
        id=passage.id,
        score=_number(content, "score"),
        text=_get(content, "text", str),
        spans=tuple(_span(span, len(passage.text)) for span in _get(content, "spans", list)),
        kept_units=_get(content, "kept_units", int),
        total_units=_get(content, "total_units", int),
        empty=_get(content, "empty", bool),
        metadata=passage.metadata,
        units=tuple(_unit(unit) for unit in _get(content, "units", list)) if units else None,
    )


def _shift(text: str, offset: int) -> str:
    """Count a passage that a message begins with from the start of the caller's list."""
    return _PASSAGE_INDEX.sub(lambda match: f"passages[{int(match[1]) + offset}]", text)


def _check_complete(results: Sequence[PassageResult], part: Part, options: PruneOptions) -> None:
    if len({result.index for result in results}) != len(results):
        raise _Malformed("a passage is answered twice")
    may_leave_out = options.drop_empty or options.min_score is not None or options.top_n is not None
    if not may_leave_out and len(results) != len(part.passages):
        raise _Malformed(f"{len(results)} of {len(part.passages)} passages are answered")


def read(content: bytes, request: PruneRequest, part: Part) -> PruneResult:
    """Read the answer to a part.

    Raises:
        BadResponseError: it is none.
    """
    try:
        answer = json.loads(content)
        options = request.options
        results = tuple(_result(item, part, options.return_units) for item in _get(answer, "results", list))
        _check_complete(results, part, options)
        usage, timings = _get(answer, "usage", dict), _get(answer, "timings", dict)
        return PruneResult(
            results=results,
            threshold=_number(answer, "threshold"),
            usage=Usage(
                query_tokens=_get(usage, "query_tokens", int),
                input_tokens=_get(usage, "input_tokens", int),
                output_tokens=_get(usage, "output_tokens", int),
                compression=_number(usage, "compression"),
            ),
            timings=Timings(**{f.name: _number(timings, f.name) for f in fields(Timings)}),
            warnings=tuple(_shift(str(warning), part.offset) for warning in _get(answer, "warnings", list)),
        )
    except (ValueError, RecursionError) as error:
        raise BadResponseError(f"the service's answer is not JSON: {_quoted(content)}", status=200) from error
    except _Malformed as error:
        raise BadResponseError(f"the service's answer is not one of /v1/prune: {error}", status=200) from error


def join(results: Sequence[PruneResult], request: PruneRequest, warnings: Sequence[str]) -> PruneResult:
    """Put the results of all parts together, in the order that was asked for.

    Args:
        results: of the parts, in their order.
        request: that they are parts of.
        warnings: of this side.
    """
    passages = [item for result in results for item in result.results]
    if request.options.reorder:
        passages.sort(key=lambda item: (-item.score, item.index))
    inputs = sum(result.usage.input_tokens for result in results)
    outputs = sum(result.usage.output_tokens for result in results)
    timings = {f.name: sum(getattr(result.timings, f.name) for result in results) for f in fields(Timings)}
    first = results[0]
    return PruneResult(
        results=tuple(passages),
        threshold=first.threshold,
        usage=Usage(
            query_tokens=first.usage.query_tokens,
            input_tokens=inputs,
            output_tokens=outputs,
            compression=1 - outputs / inputs if inputs else 0.0,
        ),
        timings=Timings(**timings),
        warnings=tuple(dict.fromkeys([*warnings, *_warnings(results)])),
    )


def _warnings(results: Sequence[PruneResult]) -> Iterator[str]:
    for result in results:
        yield from result.warnings


def _quoted(content: bytes) -> str:
    text = content[: 4 * _SHOWN].decode("utf-8", "replace")
    return shown(text, _SHOWN) if text.strip() else "it is empty"


def _details(content: bytes) -> Mapping[str, Any]:
    try:
        details = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return details if isinstance(details, dict) else {}


def error_of(status: int, content: bytes, offset: int = 0) -> ServiceError:
    """Return the error that an answer with a bad status stands for.

    Args:
        status: of the answer.
        content: its body.
        offset: index of the first passage that was sent.
    """
    details = _details(content)
    detail = details.get("detail")
    said = _shift(detail, offset) if isinstance(detail, str) else _quoted(content)
    if status >= 500 or status == 429:
        return ServiceUnavailableError(
            f"the service answered with status {status}: {said}", status=status, details=details
        )
    if status == 422:
        errors = details.get("errors")
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        field, problem, mend = (first.get(name) for name in ("field", "problem", "mend"))
        if isinstance(field, str) and isinstance(problem, str) and isinstance(mend, str):
            return RequestRefusedError(_shift(field, offset), problem, mend, status=status, details=details)
    if not isinstance(detail, str) and not 400 <= status < 500:
        return BadResponseError(f"the service answered with status {status}: {said}", status=status)
    mends = {401: "give a valid api_key, or set SECATEUR_API_KEY", 404: "mend the url or the model"}
    mend = mends.get(status)
    line = f"the service refused with status {status}: {said}" + (f"; {mend}" if mend else "")
    return ServiceError(line, status=status, details=details)
