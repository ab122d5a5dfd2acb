"""From a `PruneRequest` to the bodies of `/v1/prune`, and from the results of its parts to one `PruneResult`.

Without a service, the passages are returned unpruned.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

from secateur.models.kept_text import line_spans
from secateur.models.options import PruneOptions, option_table
from secateur.models.segmentation import AUTO, format_of
from secateur.models.types import Passage, PassageResult, PruneRequest, PruneResult, Timings, Usage

# Size of a part: small enough for the time limit of a service on a few cores, and so large that a further request
# costs little in comparison.
PART_PASSAGES = 1_000
PART_CHARACTERS = 500_000

_PASSTHROUGH = "passthrough: "  # begins the warning of a result that was passed through

# Size limits of an answer, in bytes
_HEAD_BYTES = 1 << 16  # all but the passages
_PASSAGE_BYTES = 1 << 10  # a passage without its text, spans and units
_SPAN_BYTES = 20  # a span `[499999,500000], ` and its lines for two characters
_UNIT_BYTES = (
    192  # `{"start":499999,"end":500000,"kind":"list_item","score":...,"kept":false,"reason":...,"tokens":9}, `
)


@dataclass(frozen=True, slots=True)
class Part:
    """The passages of one HTTP request, which are neighbours in the caller's list; at least one."""

    offset: int  # index of the first one in the caller's list
    passages: tuple[Passage, ...]


def _compares_passages(options: PruneOptions) -> bool:
    """Return whether what is kept of a passage depends on the others."""
    return options.dedupe or any(one is not None for one in (options.max_tokens, options.compression, options.top_n))


def split(request: PruneRequest) -> list[Part]:
    """Cut a request into parts; one with an option that compares all passages stays whole."""
    if _compares_passages(request.options):
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
    """Return the JSON body of a part. Ids and metadata are not sent; the answer's indices find them again."""
    given = {name: getattr(request.options, name) for name in option_table()}
    changed = {name: value for name, value in given.items() if value != option_table()[name].default}
    if model is not None:
        changed["model"] = model
    passages = [_passage(passage) for passage in part.passages]
    return json.dumps({"query": request.query, "passages": passages, **changed}).encode()


def _passage(passage: Passage) -> str | dict[str, str]:
    if passage.title is None and passage.format == AUTO:
        return passage.text
    title = {} if passage.title is None else {"title": passage.title}
    return {"text": passage.text, "format": passage.format, **title}


def answer_limit(request: PruneRequest, part: Part, content: bytes) -> int:
    """Return the size of the largest valid answer to a part with a body, in bytes.

    That is the answer with the whole text, every second character in a span and each character in a unit of its own.
    """
    options = request.options
    characters = sum(len(passage.text) for passage in part.passages)
    # A marker is about as long as its template, and has a joiner on both sides.
    gap = options.joiner if options.gap_marker is None else f"{options.joiner}{options.gap_marker}{options.joiner}"
    gap_bytes = len(json.dumps(gap))
    per_character = _SPAN_BYTES + gap_bytes // 2 + (_UNIT_BYTES if options.return_units else 0)
    per_passage = _PASSAGE_BYTES + 2 * gap_bytes
    return _HEAD_BYTES + per_passage * len(part.passages) + len(content) + per_character * characters


def join(results: Sequence[PruneResult], request: PruneRequest, warnings: Sequence[str]) -> PruneResult:
    """Return one result for the results of all parts, in their order, with the client's own warnings."""
    passages = [item for result in results for item in result.results]
    passages.sort(key=lambda item: (-item.score if request.options.reorder else 0.0, item.index))
    inputs = sum(result.usage.input_tokens for result in results)
    outputs = sum(result.usage.output_tokens for result in results)
    timings = {f.name: sum(getattr(result.timings, f.name) for result in results) for f in fields(Timings)}
    told = [warning for result in results for warning in result.warnings]
    return PruneResult(
        results=tuple(passages),
        threshold=results[0].threshold,
        usage=Usage(results[0].usage.query_tokens, inputs, outputs, max(0.0, 1 - outputs / inputs) if inputs else 0.0),
        timings=Timings(**timings),
        warnings=tuple(dict.fromkeys([*warnings, *told])),
    )


def passthrough(request: PruneRequest, reason: object) -> PruneResult:
    """Return the passages of a request whole and in their order, with a score of 0 and a warning with the reason.

    Without a model no option can be applied, except that `drop_empty` leaves out passages without text.
    """
    results = []
    for index, passage in enumerate(request.passages):
        empty = not passage.text.strip()
        if not (empty and request.options.drop_empty):
            spans = () if empty else ((0, len(passage.text)),)
            units = len(spans)
            results.append(
                PassageResult(
                    index=index,
                    id=passage.id,
                    score=0.0,
                    text=passage.text,
                    spans=spans,
                    line_spans=line_spans(passage.text, spans),
                    format=format_of(passage),
                    kept_units=units,
                    total_units=units,
                    empty=empty,
                    metadata=passage.metadata,
                )
            )
    warning = f"{_PASSTHROUGH}nothing was pruned, scored or reordered: {reason}"
    return PruneResult(tuple(results), 0.0, Usage(0, 0, 0, 0.0), Timings(0.0, 0.0, 0.0, 0.0), (warning,))


def passed_through(result: PruneResult) -> bool:
    """Return whether the passages of a result were returned unpruned because the service was down."""
    return any(warning.startswith(_PASSTHROUGH) for warning in result.warnings)
