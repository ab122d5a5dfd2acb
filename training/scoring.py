"""Scoring labelled examples with a pruner: what calibration looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.labelled.examples import Example
from secateur.models.errors import DataError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import PassageResult, PruneRequest

_CHUNK = 64  # queries that are batched together
_OPTIONS = PruneOptions(threshold=0.5, reorder=False, keep_title=False, return_units=True, truncate_query=True)


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A labelled passage with a pruner's scores.

    Attributes:
        scores: float64[units], keep probabilities.
        gold: bool[units], whether a unit overlaps a labelled span.
        relevant: whether the passage answers its query.
    """

    scores: NDArray[np.float64]
    gold: NDArray[np.bool_]
    relevant: bool


def _scored(example: Example, results: Sequence[PassageResult]) -> list[ScoredPassage]:
    found = []
    for labelled, result in zip(example.passages, results, strict=True):
        units = result.units or ()
        gold = [any(u.start < end and u.end > start for start, end in labelled.spans) for u in units]
        if units:
            scores = np.array([u.score for u in units], dtype=np.float64)
            found.append(ScoredPassage(scores, np.array(gold, dtype=bool), labelled.relevant))
    return found


def score_examples(
    pruner: Pruner, examples: Sequence[Example], *, titles: bool = True
) -> Iterator[list[ScoredPassage]]:
    """Score the passages of each example; those without text are left out.

    Args:
        pruner: the model.
        examples: queries with passages.
        titles: show the passages' titles to the model.

    Raises:
        DataError: an example has no query or no passage.
    """
    for example in examples:
        if not example.query.strip() or not example.passages:
            raise DataError(
                f"example {example.id!r}: has no query or no passages; `secateur data check` names all such"
            )
    for start in range(0, len(examples), _CHUNK):
        chunk = examples[start : start + _CHUNK]
        requests = []
        for example in chunk:
            passages = [labelled.passage for labelled in example.passages]
            if not titles:
                passages = [type(p)(p.text) for p in passages]
            requests.append(PruneRequest(example.query, tuple(passages), _OPTIONS))
        for example, result in zip(chunk, pruner.prune_many(requests), strict=True):
            yield _scored(example, result.results)
