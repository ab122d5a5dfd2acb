"""Passages returned unpruned, so that a pipeline can continue while its service is down."""

from __future__ import annotations

from secateur.models.types import PassageResult, PruneRequest, PruneResult, Timings, Usage

_PREFIX = "passthrough: "


def passthrough(request: PruneRequest, reason: object) -> PruneResult:
    """Return the passages of a request whole and in their order, with a score of 0 and a warning with the reason.

    Without a model no option can be applied, except that `drop_empty` leaves out passages without text.
    """
    results = [
        PassageResult(
            index=index,
            id=passage.id,
            score=0.0,
            text=passage.text,
            spans=((0, len(passage.text)),) if passage.text.strip() else (),
            kept_units=1 if passage.text.strip() else 0,
            total_units=1 if passage.text.strip() else 0,
            empty=not passage.text.strip(),
            metadata=passage.metadata,
        )
        for index, passage in enumerate(request.passages)
        if passage.text.strip() or not request.options.drop_empty
    ]
    return PruneResult(
        results=tuple(results),
        threshold=0.0,
        usage=Usage(query_tokens=0, input_tokens=0, output_tokens=0, compression=0.0),
        timings=Timings(queue_ms=0.0, tokenize_ms=0.0, inference_ms=0.0, total_ms=0.0),
        warnings=(f"{_PREFIX}nothing was pruned, scored or reordered: {reason}",),
    )


def passed_through(result: PruneResult) -> bool:
    """Return whether the passages of a result were returned unpruned because the service was down."""
    return any(warning.startswith(_PREFIX) for warning in result.warnings)
