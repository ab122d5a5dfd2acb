"""From a `PruneRequest` to bodies of `/v1/prune`, and from answers, trusted in nothing, to a `PruneResult`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from secateur.client.errors import BadResponseError, RequestRefusedError, ServiceError, ServiceUnavailableError
from secateur.models.errors import shown
from secateur.models.options import PruneOptions
from secateur.models.requests import replace_surrogates
from secateur.models.selection import join_spans
from secateur.models.types import Passage, PassageResult, PruneRequest, PruneResult, Timings, UnitKind, UnitScore, Usage

# A part of a request: small enough for the deadline of a service on a few cores, large enough that a request more
# costs nothing beside it.
PART_PASSAGES = 1_000
PART_CHARACTERS = 500_000

_PASSAGE_INDEX = re.compile(r"^passages\[([0-9]{1,9})\]")
_SHOWN = 80  # characters of an answer that a message quotes
_SAID = 500  # characters of a service's own words
_QUOTED = 1 << 16  # bytes among which secrets are looked for before a quotation is cut

_HEAD_BYTES = 1 << 16  # of an answer, beside its passages
_PASSAGE_BYTES = 1 << 10  # of a passage, beside its text, spans and units
_SPAN_BYTES = 12  # `[499999,500000], ` for two characters
_UNIT_BYTES = 192  # `{"start":499999,"end":500000,"kind":"list_item","score":...,"kept":false,"tokens":9}, `
_KINDS = get_args(UnitKind)
_ROUNDING = 1e-6  # of a threshold given as float32


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
    return json.dumps({"query": request.query, "passages": passages, **given}).encode()


def _passage(passage: Passage) -> str | dict[str, str]:
    if passage.title is None and passage.format == "text":
        return passage.text
    title = {} if passage.title is None else {"title": passage.title}
    return {"text": passage.text, "format": passage.format, **title}


def answer_limit(request: PruneRequest, part: Part, content: bytes) -> int:
    """Return the most bytes that an answer to a part can need.

    That is when all text comes back, with every other character in a span and each in a unit of its own.

    Args:
        request: that the part is of.
        part: that is asked for.
        content: the body that asks for it.
    """
    options = request.options
    characters = sum(len(passage.text) for passage in part.passages)
    per_character = _SPAN_BYTES + len(json.dumps(options.joiner)) // 2 + (_UNIT_BYTES if options.return_units else 0)
    return _HEAD_BYTES + _PASSAGE_BYTES * len(part.passages) + len(content) + per_character * characters


class _Malformed(Exception):
    """The answer is not what the protocol says: a field, its value, and perhaps why it is wrong."""

    def __init__(self, field: str, value: object, why: str = "") -> None:
        super().__init__(field)
        self.field = field
        self.value = value
        self.why = why


def _get(content: Any, name: str, kind: type | tuple[type, ...], path: str = "") -> Any:
    value = content.get(name) if isinstance(content, dict) else None
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, kind):
        raise _Malformed(f"{path}{name}", value)
    return value


def _number(content: Any, name: str, path: str = "", high: float = math.inf) -> float:
    value = _get(content, name, (int, float), path)
    if not 0 <= value <= high or value == math.inf:  # NaN is in no range; an integer may be too large for a float
        raise _Malformed(f"{path}{name}", value, f"it is not a number in [0, {high:g}]")
    try:
        return float(value)
    except OverflowError:
        raise _Malformed(f"{path}{name}", value, "it is too large") from None


def _count(content: Any, name: str, path: str, high: float = math.inf) -> int:
    value: int = _get(content, name, int, path)
    if not 0 <= value <= high:
        raise _Malformed(f"{path}{name}", value, f"it is not in [0, {high:g}]")
    return value


def _bounds(content: Any, after: int, length: int, path: str) -> tuple[int, int]:
    """Check a range that has to begin at or behind the end of the one before."""
    match content:
        case [int(start), int(end)] if after <= start < end <= length and not isinstance(start, bool):
            return start, end
    raise _Malformed(path, content, f"it is not a range from {after} on in a text of {length} characters")


def _units(content: Any, passage: Passage, path: str) -> tuple[UnitScore, ...]:
    units: list[UnitScore] = []
    after = 0
    for number, unit in enumerate(_get(content, "units", list, path)):
        here = f"{path}units[{number}]."
        ends = [_get(unit, "start", int, here), _get(unit, "end", int, here)]
        start, after = _bounds(ends, after, len(passage.text), f"{path}units[{number}]")
        kind = _get(unit, "kind", str, here)
        if kind not in _KINDS:
            raise _Malformed(f"{here}kind", kind)
        units.append(
            UnitScore(
                start=start,
                end=after,
                kind=kind,
                score=_number(unit, "score", here, 1.0),
                kept=_get(unit, "kept", bool, here),
                tokens=_count(unit, "tokens", here),
            )
        )
    return tuple(units)


def _spans(content: Any, passage: Passage, path: str) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    after = 0
    for number, span in enumerate(_get(content, "spans", list, path)):
        spans.append(_bounds(span, after, len(passage.text), f"{path}spans[{number}]"))
        after = spans[-1][1]
    return tuple(spans)


def _result(content: Any, number: int, part: Part, options: PruneOptions) -> PassageResult:
    path = f"results[{number}]."
    index = _count(content, "index", path, len(part.passages) - 1)
    passage = part.passages[index]
    spans = _spans(content, passage, path)
    text = _get(content, "text", str, path)
    # Its own length first, for a joiner can make it longer than all that has come.
    if len(text) != _length(spans, options.joiner) or text != join_spans(passage.text, spans, options.joiner):
        raise _Malformed(f"{path}text", text, "it is not the text of its spans")
    total = _count(content, "total_units", path, len(passage.text))
    kept = _count(content, "kept_units", path, total)
    if kept < len(spans):
        raise _Malformed(f"{path}kept_units", kept, f"it has {len(spans)} spans")
    empty = _get(content, "empty", bool, path)
    if empty is bool(spans):
        raise _Malformed(f"{path}empty", empty, f"it has {len(spans)} spans")
    units = _units(content, passage, path) if options.return_units else None
    if units is not None and [len(units), sum(unit.kept for unit in units)] != [total, kept]:
        raise _Malformed(f"{path}units", len(units), f"{total} units and {kept} kept ones are announced")
    return PassageResult(
        index=part.offset + index,
        id=passage.id,
        score=_number(content, "score", path, 1.0),
        text=text,
        spans=spans,
        kept_units=kept,
        total_units=total,
        empty=empty,
        metadata=passage.metadata,
        units=units,
    )


def _length(spans: Sequence[tuple[int, int]], joiner: str) -> int:
    return sum(end - start for start, end in spans) + len(joiner) * max(0, len(spans) - 1)


def _shift(text: str, offset: int) -> str:
    """Count a passage that a message begins with from the start of the caller's list."""
    return _PASSAGE_INDEX.sub(lambda match: f"passages[{int(match[1]) + offset}]", text)


def _check_choice(results: Sequence[PassageResult], part: Part, options: PruneOptions) -> None:
    """Check that those passages came back which the options ask for, as far as this side can know."""
    seen: set[int] = set()
    for number, result in enumerate(results):
        if result.index in seen:
            raise _Malformed(f"results[{number}].index", result.index - part.offset, "a passage is answered twice")
        seen.add(result.index)
        if options.min_score is not None and result.score < options.min_score:
            raise _Malformed(f"results[{number}].score", result.score, "it is below min_score")
        if options.drop_empty and result.empty:
            raise _Malformed(f"results[{number}].empty", result.empty, "empty ones were to be left out")
    may_leave_out = options.drop_empty or options.min_score is not None
    most = len(part.passages) if options.top_n is None else min(options.top_n, len(part.passages))
    if len(results) > most or (len(results) < most and not may_leave_out):
        problem = f"{len(results)} of {len(part.passages)} passages are answered, not {most}"
        raise _Malformed("results", len(results), problem)


def _threshold(answer: Any, options: PruneOptions) -> float:
    value = _number(answer, "threshold", high=1.0)
    if options.threshold is not None and abs(value - options.threshold) > _ROUNDING:
        raise _Malformed("threshold", value, f"{options.threshold!r} was given")
    return value


def _usage(answer: Any) -> Usage:
    usage = _get(answer, "usage", dict)
    inputs = _count(usage, "input_tokens", "usage.")
    return Usage(
        query_tokens=_count(usage, "query_tokens", "usage."),
        input_tokens=inputs,
        output_tokens=_count(usage, "output_tokens", "usage.", inputs),
        compression=_number(usage, "compression", "usage.", 1.0),
    )


def _said(answer: Any, offset: int, hide: Callable[[str], str]) -> tuple[str, ...]:
    warnings = _get(answer, "warnings", list)
    for number, warning in enumerate(warnings):
        if not isinstance(warning, str):
            raise _Malformed(f"warnings[{number}]", warning)
    return tuple(_shift(one_line(warning, hide), offset) for warning in warnings)


def _parsed(content: bytes) -> Any:
    """Return what a body of JSON says, or None. No exception of it is left, for one holds the whole body."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def read(content: bytes, request: PruneRequest, part: Part, hide: Callable[[str], str] = str) -> PruneResult:
    """Read the answer to a part, in which nothing is trusted.

    Args:
        content: the body.
        request: that the part is of.
        part: that was asked for.
        hide: takes secrets out of what is shown.

    Raises:
        BadResponseError: it is not one; the message names the field.
    """
    answer = _parsed(content)
    if answer is None:
        raise BadResponseError(f"the service's answer is not JSON: {quoted(content, hide)}", status=200)
    options = request.options
    try:
        items = _get(answer, "results", list)
        results = tuple(_result(item, number, part, options) for number, item in enumerate(items))
        _check_choice(results, part, options)
        timings = _get(answer, "timings", dict)
        return PruneResult(
            results=results,
            threshold=_threshold(answer, options),
            usage=_usage(answer),
            timings=Timings(**{f.name: _number(timings, f.name, "timings.") for f in fields(Timings)}),
            warnings=_said(answer, part.offset, hide),
        )
    except _Malformed as error:
        field, value, why = error.field, _shown(error.value, hide), f"; {error.why}" if error.why else ""
    raise BadResponseError(f"the service's answer is not one of /v1/prune: `{field}` is {value}{why}", status=200)


def join(results: Sequence[PruneResult], request: PruneRequest, warnings: Sequence[str]) -> PruneResult:
    """Put the results of all parts together, in the order that was asked for.

    Args:
        results: of the parts, in their order.
        request: that they are parts of.
        warnings: of this side.
    """
    passages = [item for result in results for item in result.results]
    passages.sort(key=lambda item: (-item.score, item.index) if request.options.reorder else (0.0, item.index))
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


def one_line(text: str, hide: Callable[[str], str]) -> str:
    """Return what a service said as one line that can be logged: without secrets, controls and surrogates, and cut."""
    line = " ".join(hide(replace_surrogates(text)).split())
    line = "".join(character if character.isprintable() else "\ufffd" for character in line[:_SAID])
    return line if len(line) < _SAID else f"{line[: _SAID - 3]}..."


def _shown(value: object, hide: Callable[[str], str]) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = type(value).__name__
    text = hide(text[:_QUOTED])
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def quoted(content: bytes, hide: Callable[[str], str]) -> str:
    """Return the beginning of a body, as a message quotes it."""
    text = hide(content[:_QUOTED].decode("utf-8", "replace"))
    return shown(text, _SHOWN) if text.strip() else "it is empty"


def _without_secrets(value: Any, hide: Callable[[str], str]) -> Any:
    match value:
        case str():
            return hide(replace_surrogates(value))
        case list():
            return [_without_secrets(item, hide) for item in value]
        case dict():
            return {hide(replace_surrogates(key)): _without_secrets(item, hide) for key, item in value.items()}
    return value


def _details(content: bytes, hide: Callable[[str], str]) -> Mapping[str, Any]:
    details = _parsed(content)
    if not isinstance(details, dict):
        return {}
    try:
        found: dict[str, Any] = _without_secrets(details, hide)
    except RecursionError:
        return {}
    return found


def error_of(status: int, content: bytes, offset: int = 0, hide: Callable[[str], str] = str) -> ServiceError:
    """Return the error that an answer with a bad status stands for.

    Args:
        status: of the answer.
        content: its body.
        offset: index of the first passage that was sent.
        hide: takes secrets out of what is shown.
    """
    details = _details(content, hide)
    detail = details.get("detail")
    said = _shift(one_line(detail, hide), offset) if isinstance(detail, str) else quoted(content, hide)
    if status >= 500 or status == 429:
        return ServiceUnavailableError(
            f"the service answered with status {status}: {said}", status=status, details=details
        )
    if status == 422:
        errors = details.get("errors")
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        names = [first.get(name) for name in ("field", "problem", "hint")]
        words = [one_line(name, hide) for name in names if isinstance(name, str)]
        if len(words) == len(names):
            field, problem, hint = words
            return RequestRefusedError(_shift(field, offset), problem, hint, status=status, details=details)
    if not isinstance(detail, str) and not 400 <= status < 500:
        return BadResponseError(f"the service answered with status {status}: {said}", status=status)
    hints = {401: "give a valid api_key, or set SECATEUR_API_KEY", 404: "fix the url or the model"}
    advice = hints.get(status)
    line = f"the service refused with status {status}: {said}" + (f"; {advice}" if advice else "")
    return ServiceError(line, status=status, details=details)
