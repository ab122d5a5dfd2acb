"""Scoring passages with a pruner: labelled examples for calibration, training passages for distillation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from secateur.labelled.blocks import blocks
from secateur.labelled.examples import Example
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PassageResult, PruneRequest, Unit
from secateur.training.changes import LabelledUnits

_BLOCK = 64  # queries that are batched together
_LOWEST = 1 / (1 + math.exp(12))  # relevance below which a runtime's rounding matters
SCORING = PruneOptions(threshold=0.5, reorder=False, keep_title=False, return_units=True, truncate_query=True)


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """The scores and gold labels of a passage's units.

    Attributes:
        scores: float64[units], keep probabilities.
        gold: bool[units], whether a unit overlaps a labelled span.
        relevant: Whether the passage answers its query.
    """

    scores: NDArray[np.float64]
    gold: NDArray[np.bool_]
    relevant: bool


def score_passages(
    pruner: Pruner, queries: Iterable[tuple[str, Sequence[Passage]]]
) -> Iterator[tuple[PassageResult, ...]]:
    """Yield the results of each query's passages, in their order, with every unit's score."""
    for block in blocks(queries, _BLOCK):
        requests = [PruneRequest(query, tuple(passages), SCORING) for query, passages in block if passages]
        results = iter(pruner.prune_many(requests))
        for _, passages in block:
            yield next(results).results if passages else ()


def score_examples(
    pruner: Pruner, examples: Sequence[Example], *, titles: bool = True
) -> Iterator[list[LabelledScores]]:
    """Score the passages of each example, except those without text; the model reads their titles if asked to."""
    queries = (
        (e.query, [p.passage if titles else replace(p.passage, title=None) for p in e.passages]) for e in examples
    )
    for example, results in zip(examples, score_passages(pruner, queries), strict=True):
        found = []
        for labelled, result in zip(example.passages, results, strict=True):
            if units := result.units:
                gold = [any(u.start < end and u.end > start for start, end in labelled.spans) for u in units]
                scores = np.array([u.score for u in units], dtype=np.float64)
                found.append(LabelledScores(scores, np.array(gold, dtype=bool), labelled.relevant))
        yield found


def scores_on_units(units: Sequence[Unit], result: PassageResult, length: int) -> list[float]:
    """Return a teacher's keep probability of each unit of a text, averaged over characters where its units differ."""
    by_character = np.zeros(length)
    for unit in result.units or ():
        by_character[unit.start : unit.end] = unit.score
    return [float(by_character[unit.start : unit.end].mean()) for unit in units]


def _logit(probability: float) -> float:
    clipped = min(max(probability, _LOWEST), 1 - _LOWEST)
    return math.log(clipped / (1 - clipped))


def with_teacher_scores(
    queries: Sequence[str], passages: Sequence[Sequence[LabelledUnits]], teacher: Pruner, gold_share: float
) -> list[list[LabelledUnits]]:
    """Replace the labels of each query's passages by a teacher's scores (distillation, Hinton et al. 2015).

    ``gold_share`` is the share of the old labels in the new ones. Whether a passage is relevant stays as it is.
    """

    def relabelled(units: LabelledUnits, result: PassageResult) -> LabelledUnits:
        pairs = zip(units.labels, scores_on_units(units.units, result, len(units.passage.text)), strict=True)
        labels = tuple(gold_share * gold + (1 - gold_share) * score for gold, score in pairs)
        return replace(units, labels=labels, teacher_score=_logit(result.score))

    texts = ((query, [units.passage for units in group]) for query, group in zip(queries, passages, strict=True))
    return [
        [relabelled(units, result) for units, result in zip(group, results, strict=True)]
        for group, results in zip(passages, score_passages(teacher, texts), strict=True)
    ]
