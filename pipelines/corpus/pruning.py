"""What is made of a row: its passages pruned, or scored. The work on one block of rows, here or on a Ray worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.types import PassageResult, PruneRequest
from secateur.pipelines.corpus.rows import as_passages

Item = tuple[object, object]  # query and passages, as they stand in the row


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model runs and how; see `Pruner.load`."""

    model: str | Path | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was made of a row.

    Attributes:
        pruned: of a single passage an object, of a list of passages a list of objects; None where the row is broken.
        error: why it is.
    """

    pruned: dict[str, Any] | list[dict[str, Any]] | None = None
    error: str | None = None


# One model a process, however many blocks it gets.
@cache
def load(choice: ModelChoice) -> Pruner:
    """Load the model."""
    return Pruner.load(
        choice.model,
        backend=choice.backend,
        device=choice.device,
        precision=choice.precision,
        threads=choice.threads,
        verify=choice.verify,
    )


def request_of(item: Item, options: PruneOptions) -> tuple[PruneRequest, bool]:
    """Return what is asked of a row, and whether of a single passage.

    Raises:
        InputError: the row is broken; the message names the field.
    """
    query, value = item
    passages, single = as_passages(value)
    return check_request(query, passages, options).request, single


def _row(result: PassageResult, score_only: bool) -> dict[str, Any]:
    if score_only:
        units = [{"start": unit.start, "end": unit.end, "score": unit.score} for unit in result.units or ()]
        return {"score": result.score, "units": units}
    return {
        "text": result.text,
        "score": result.score,
        "spans": [list(span) for span in result.spans],
        "kept_units": result.kept_units,
        "total_units": result.total_units,
    }


def prune_block(block: Sequence[Item], choice: ModelChoice, options: PruneOptions, score_only: bool) -> list[Outcome]:
    """Prune the passages of rows; one whose row is broken stops no other.

    The rows of a block run in the same batches whatever runs beside, so its outcomes are always the same.

    Args:
        block: queries and passages.
        choice: the model.
        options: of pruning.
        score_only: return scores of passages and units, and no texts.
    """
    pruner = load(choice)
    outcomes: dict[int, Outcome] = {}
    asked: list[tuple[int, PruneRequest, bool]] = []
    options = replace(options, return_units=score_only)
    for number, item in enumerate(block):
        try:
            request, single = request_of(item, options)
            pruner.encoder.encode_query(request.query, truncate=options.truncate_query)
        except InputError as error:
            outcomes[number] = Outcome(error=str(error))
        else:
            asked.append((number, request, single))
    for (number, _, single), result in zip(asked, pruner.prune_many([one for _, one, _ in asked]), strict=True):
        if single:
            # Left out by an option, a single passage is null, not broken.
            outcomes[number] = Outcome(next((_row(one, score_only) for one in result.results), None))
        else:
            outcomes[number] = Outcome([{"index": one.index, **_row(one, score_only)} for one in result.results])
    return [outcomes[number] for number in range(len(block))]
