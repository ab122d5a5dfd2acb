"""Passages given back unpruned, for a pipeline that goes on while its service is down."""

from __future__ import annotations

from secateur.models.types import PassageResult, PruneRequest, PruneResult, Timings, Usage

_PREFIX = "passthrough: "


def passthrough(request: PruneRequest, why: object) -> PruneResult:
    """Return all passages of a request whole, in its order, with a score of 0 and a warning that says why.

    No option is applied, for without a model there is nothing to choose by; only `drop_empty` leaves out passages
    without text.
    """
    results = []
    for index, passage in enumerate(request.passages):
        empty = not passage.text.strip()
        if empty and request.options.drop_empty:
            continue
        units = 0 if empty else 1
        results.append(
            PassageResult(
                index=index,
                id=passage.id,
                score=0.0,
                text=passage.text,
                spans=() if empty else ((0, len(passage.text)),),
                kept_units=units,
                total_units=units,
                empty=empty,
                metadata=passage.metadata,
            )
        )
    return PruneResult(
        results=tuple(results),
        threshold=0.0,
        usage=Usage(query_tokens=0, input_tokens=0, output_tokens=0, compression=0.0),
        timings=Timings(queue_ms=0.0, tokenize_ms=0.0, inference_ms=0.0, total_ms=0.0),
        warnings=(f"{_PREFIX}nothing was pruned, scored or reordered: {why}",),
    )


def passed_through(result: PruneResult) -> bool:
    """Whether any of a result's passages came back unpruned because the service was down."""
    return any(warning.startswith(_PREFIX) for warning in result.warnings)
