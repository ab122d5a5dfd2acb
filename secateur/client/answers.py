"""Answers of a service, none of which is trusted: types and ranges by pydantic, then what must fit together."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateur.client.errors import (
    BadResponseError,
    Hide,
    RequestRefusedError,
    ServiceError,
    ServiceUnavailableError,
    one_line,
    quoted,
    shown_value,
    without_secrets,
)
from secateur.client.wire import Part
from secateur.models.kept_text import line_spans, separator
from secateur.models.options import PruneOptions
from secateur.models.segmentation import AUTO, FORMATS
from secateur.models.types import PassageResult, PruneRequest, PruneResult, Reason, Timings, UnitScore, Usage

_PASSAGE_INDEX = re.compile(r"^passages\[([0-9]{1,9})\]")
_ROUNDING = 1e-6  # of a threshold that the service keeps as float32
_HINTS = {401: "; give a valid api_key, or set SECATEUR_API_KEY", 404: "; fix the url or the model"}

_Count = Annotated[int, Field(ge=0)]
_Probability = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T", bound="_Strict")
_Item = TypeVar("_Item")
# Without `fail_fast`, a long list of wrong values would become as many errors.
_List = Annotated[list[_Item], Field(fail_fast=True)]


class _Strict(BaseModel):  # also for the dataclasses in it, whose ranges `_check_ranges` adds
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Result(_Strict):
    index: _Count
    score: _Probability
    text: str
    spans: _List[tuple[int, int]]
    line_spans: _List[tuple[int, int]]
    format: str
    kept_units: _Count
    total_units: _Count
    empty: bool
    units: _List[UnitScore] | None = None


class _PruneAnswer(_Strict):
    results: _List[_Result]
    threshold: _Probability
    usage: Usage
    timings: Timings
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
        ready: Whether requests can be served.
        model: Name of the model for requests that name none.
        models: Names of all served models.
    """

    ready: bool
    model: str | None
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """Reads the answers of a service. What is wrong with one is a `BadResponseError` that names the field.

    Attributes:
        hide: Removes the secrets from a text.
        route: Route to the service, for messages.
    """

    hide: Hide = str
    route: str = ""

    def result(self, content: bytes, request: PruneRequest, part: Part) -> PruneResult:
        """Read an answer of `/v1/prune` to a part of a request."""
        answer = self._parse(_PruneAnswer, content)
        options, usage = request.options, answer.usage
        results = tuple(
            self._passage(result, f"results[{number}]", part, options) for number, result in enumerate(answer.results)
        )
        self._check_choice(results, part, options)
        self._check_ranges(usage, "usage")
        self._check_ranges(answer.timings, "timings", most=math.inf)
        wanted = answer.threshold if options.threshold is None else options.threshold
        fits = abs(answer.threshold - wanted) <= _ROUNDING
        self._require(fits, "threshold", answer.threshold, f"{wanted!r} was given")
        # Joiners and markers are counted, too.
        fits = usage.output_tokens <= usage.input_tokens or bool(options.joiner.strip() or options.gap_marker)
        self._require(fits, "usage.output_tokens", usage.output_tokens, f"there are {usage.input_tokens} input tokens")
        return PruneResult(
            results=results,
            threshold=answer.threshold,
            usage=usage,
            timings=answer.timings,
            warnings=tuple(_shifted(one_line(warning, self.hide), part.offset) for warning in answer.warnings),
        )

    def models(self, content: bytes) -> tuple[str, ...]:
        """Read an answer of `/v1/models`."""
        return tuple(model.id for model in self._parse(_ModelsAnswer, content).data)

    def health(self, status: int, content: bytes) -> Health:
        """Read an answer of `/health/ready`, or raise a `ServiceError`."""
        try:
            answer = self._parse(_HealthAnswer, content)
        except BadResponseError as error:
            problem: ServiceError = error if status == 200 else self.error(status, content)
            raise problem from None
        return Health(answer.status == "ready" and status == 200, answer.model, tuple(answer.models))

    def error(self, status: int, content: bytes, offset: int = 0) -> ServiceError:
        """Return the error of an answer with a bad status, to a request whose first passage has an index."""
        details: dict[str, Any] = {}
        try:
            found = without_secrets(json.loads(content), self.hide)
            details = found if isinstance(found, dict) else {}
        except (ValueError, RecursionError):
            pass  # the body is quoted
        detail = details.get("detail")
        words = one_line(detail, self.hide) if isinstance(detail, str) else quoted(content, self.hide)
        said = _shifted(words, offset)
        if status >= 500 or status == 429:
            message = f"the service answered with status {status}: {said}"
            return ServiceUnavailableError(message, status=status, details=details)
        match status, details.get("errors"):
            case 422, [{"field": str(field), "problem": str(problem), "hint": str(hint)}, *_]:
                field, problem, hint = (one_line(text, self.hide) for text in (field, problem, hint))
                return RequestRefusedError(_shifted(field, offset), problem, hint, status=status, details=details)
        if not isinstance(detail, str) and not 400 <= status < 500:
            return BadResponseError(f"the service answered with status {status}: {said}", status=status)
        message = f"the service refused with status {status}: {said}{_HINTS.get(status, '')}"
        return ServiceError(message, status=status, details=details)

    def _parse(self, kind: type[T], content: bytes) -> T:
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:  # not the cause of what is raised, because it holds the answer
            first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            problem = f"is not JSON: {quoted(content, self.hide)}"
        else:
            names = [f"[{name}]" if isinstance(name, int) else f".{name}" for name in first["loc"]]
            field = f"`{''.join(names).removeprefix('.')}`" if names else "it"
            missing = first["type"] == "missing"
            value = "missing" if missing else f"{shown_value(first['input'], self.hide)}; {first['msg']}"
            problem = f"is malformed: {field} is {value}"
        raise BadResponseError(f"the service's answer {problem}{self.route}", status=200)

    def _require(self, fits: bool, field: str, value: object, reason: str) -> None:
        if not fits:
            problem = f"`{field}` is {shown_value(value, self.hide)}; {reason}"
            raise BadResponseError(f"the service's answer is wrong: {problem}{self.route}", status=200)

    def _passage(self, result: _Result, path: str, part: Part, options: PruneOptions) -> PassageResult:
        require, sent = self._require, len(part.passages)
        require(result.index < sent, f"{path}.index", result.index, f"{sent} passages were sent")
        passage, spans = part.passages[result.index], result.spans
        characters = len(passage.text)
        self._check_spans(spans, characters, f"{path}.spans")
        fits = _has_spans(result.text, passage.text, spans, options, result.format)
        require(fits, f"{path}.text", result.text, "it is not the text of its spans")
        wanted = list(line_spans(passage.text, spans))
        require(result.line_spans == wanted, f"{path}.line_spans", result.line_spans, "they are not the lines of spans")
        known = result.format in FORMATS and result.format != AUTO and passage.format in (AUTO, result.format)
        require(known, f"{path}.format", result.format, f"the passage was sent as {passage.format!r}")
        kept, total = result.kept_units, result.total_units
        require(total <= characters, f"{path}.total_units", total, f"there are {characters} characters")
        counts = f"there are {len(spans)} spans and {total} units"
        require(len(spans) <= kept <= total, f"{path}.kept_units", kept, counts)
        require(result.empty is not bool(spans), f"{path}.empty", result.empty, counts)
        units = result.units or [] if options.return_units else None
        if units is not None:
            for number, unit in enumerate(units):
                self._check_ranges(unit, f"{path}.units[{number}]")
                fits = unit.kept is (unit.reason in get_args(Reason))
                require(fits, f"{path}.units[{number}].reason", unit.reason, f"`kept` is {unit.kept}")
            self._check_spans([(unit.start, unit.end) for unit in units], characters, f"{path}.units")
            found = [len(units), sum(unit.kept for unit in units)]
            announced = f"{total} units, {kept} of them kept, were announced"
            require(found == [total, kept], f"{path}.units", found, announced)
        own = {"index": part.offset + result.index, "id": passage.id, "metadata": passage.metadata}
        scored = None if units is None else tuple(units)
        ranges = {"spans": tuple(spans), "line_spans": tuple(result.line_spans)}
        return PassageResult(**dict(result) | own | ranges | {"units": scored})

    def _check_ranges(self, item: UnitScore | Usage | Timings, path: str, most: float = 1.0) -> None:
        """Check that the numbers of an item are not negative, and its shares at most 1."""
        for name, value in asdict(item).items():
            if isinstance(value, int | float):
                fits = value >= 0 and (isinstance(value, int) or value <= most)
                self._require(fits, f"{path}.{name}", value, "it is out of range")

    def _check_spans(self, spans: Sequence[tuple[int, int]], length: int, path: str) -> None:
        """Check that spans are ascending, non-overlapping, not empty, and inside a text of a length."""
        after = 0
        for number, (start, end) in enumerate(spans):
            reason = f"it is not a span of the rest of the text, [{after}, {length}]"
            self._require(after <= start < end <= length, f"{path}[{number}]", [start, end], reason)
            after = end

    def _check_choice(self, results: Sequence[PassageResult], part: Part, options: PruneOptions) -> None:
        """Check that the answer has the passages that the options ask for, as far as the client can know."""
        require, seen = self._require, set[int]()
        for number, result in enumerate(results):
            path = f"results[{number}]"
            require(result.index not in seen, f"{path}.index", result.index - part.offset, "it occurs twice")
            seen.add(result.index)
            require(result.score >= (options.min_score or 0), f"{path}.score", result.score, "it is below min_score")
            require(not (options.drop_empty and result.empty), f"{path}.empty", result.empty, "drop_empty was given")
        most = min(options.top_n or len(part.passages), len(part.passages))
        fewest = 0 if options.drop_empty or options.min_score is not None else most
        count = f"a list of {len(results)}"
        require(fewest <= len(results) <= most, "results", count, f"{most} of the passages were expected")


def _has_spans(pruned: str, text: str, spans: Sequence[tuple[int, int]], options: PruneOptions, format: str) -> bool:
    """Return whether a pruned text consists of spans of a text, with joiners or, where they are asked for, markers.

    What a marker says is not known here: the spans must be there in their order, with room for a joiner between them.
    Nothing is made that is longer than the pruned text, however long the joiner.
    """
    marked = options.gap_marker is not None
    at = 0
    for number, (start, end) in enumerate(spans):
        piece = text[start:end]
        gap = separator(text, (spans[number - 1][1], start), options.joiner, format) if number else ""
        if marked:
            found = pruned.find(piece, at + len(gap))
        else:
            found = at + len(gap) if pruned.startswith(gap + piece, at) else -1
        if found < 0:
            return False
        at = found + len(piece)
    if not (marked and spans):
        return at == len(pruned)
    first, last = text[slice(*spans[0])], text[slice(*spans[-1])]
    return options.gap_marker_ends or (pruned.startswith(first) and pruned.endswith(last))


def _shifted(text: str, offset: int) -> str:
    """Return a message with its passage's index in the caller's list in place of that in a part."""
    return _PASSAGE_INDEX.sub(lambda match: f"passages[{int(match[1]) + offset}]", text)
