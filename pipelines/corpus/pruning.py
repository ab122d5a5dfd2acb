"""Pruning or scoring the passages of one block of rows, in this process or on a Ray worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import load_once
from secateur.models.registry import ModelChoice
from secateur.models.requests import CheckedRequest, check_request
from secateur.models.types import PassageResult

Item = tuple[object, object]  # query and passages of a row, unchecked


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a row: an object, or a list of objects for a list of passages, or the reason why it is broken.

    Attributes:
        pruned: The result.
        error: Why the row is broken.
        warnings: What was changed in the row, or cannot be read by the model.
    """

    pruned: dict[str, Any] | list[dict[str, Any]] | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()


def request_of(item: Item, options: PruneOptions) -> tuple[CheckedRequest, bool]:
    """Return the checked request of a row, and whether it has a single passage.

    Raises:
        InputError: The row is broken; the message names the field.
    """
    query, value = item
    single = isinstance(value, str | Mapping)
    if not single and not isinstance(value, list):
        raise InputError("passages", f"{value!r:.60} is neither a text nor a list", "give one of them")
    return check_request(query, [value] if single else value, options), single


def _content(result: PassageResult, score_only: bool) -> dict[str, Any]:
    if score_only:
        fields = ("start", "end", "kind", "score")
        units = [{name: getattr(unit, name) for name in fields} for unit in result.units or ()]
        return {"score": result.score, "format": result.format, "units": units}
    return {
        "text": result.text,
        "score": result.score,
        "spans": [list(span) for span in result.spans],
        "line_spans": [list(span) for span in result.line_spans],
        "format": result.format,
        "kept_units": result.kept_units,
        "total_units": result.total_units,
    }


def prune_block(block: Sequence[Item], choice: ModelChoice, options: PruneOptions, score_only: bool) -> list[Outcome]:
    """Prune the passages of rows, or only score them and their units; a broken row does not affect the others.

    The rows of a block are batched together, so its outcomes do not depend on other blocks.
    """
    pruner = load_once(choice)
    options = replace(options, return_units=score_only)
    outcomes = [Outcome()] * len(block)
    valid: list[tuple[int, CheckedRequest, bool]] = []
    for number, item in enumerate(block):
        try:
            checked, single = request_of(item, options)
            pruner.encoder.encode_query(checked.request.query, truncate=options.truncate_query)
        except InputError as error:
            outcomes[number] = Outcome(error=str(error))
        else:
            valid.append((number, checked, single))
    results = pruner.prune_many([checked.request for _, checked, _ in valid])
    for (number, checked, single), result in zip(valid, results, strict=True):
        if single:
            # A single passage that an option leaves out is null, not broken.
            pruned: Any = next((_content(one, score_only) for one in result.results), None)
        else:
            pruned = [{"index": one.index, **_content(one, score_only)} for one in result.results]
        outcomes[number] = Outcome(pruned, warnings=(*checked.warnings, *result.warnings))
    return outcomes
