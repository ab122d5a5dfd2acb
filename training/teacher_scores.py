"""Distillation: labels from the keep probabilities and the relevance of a teacher (Hinton et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from secateur.models.pruner import Pruner
from secateur.models.types import PassageResult, Unit
from secateur.training.changes import LabelledUnits
from secateur.training.scoring import score_passages

_MAX_LOGIT = 12.0  # for a relevance that a runtime rounded to 0 or 1


def scores_on_units(units: Sequence[Unit], result: PassageResult, length: int) -> list[float]:
    """Return a teacher's keep probability of each unit, averaged over characters where its own units differ.

    Args:
        units: Units that tile the text.
        result: The teacher's result, with its own units.
        length: Length of the text.
    """
    by_character = np.zeros(length)
    for unit in result.units or ():
        by_character[unit.start : unit.end] = unit.score
    return [float(by_character[unit.start : unit.end].mean()) for unit in units]


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        return math.copysign(_MAX_LOGIT, probability - 0.5)
    return max(-_MAX_LOGIT, min(_MAX_LOGIT, math.log(probability / (1 - probability))))


def _relabelled(units: LabelledUnits, result: PassageResult, gold_share: float) -> LabelledUnits:
    scores = scores_on_units(units.units, result, len(units.passage.text))
    labels = [gold_share * gold + (1 - gold_share) * score for gold, score in zip(units.labels, scores, strict=True)]
    return replace(units, labels=tuple(labels), teacher_score=_logit(result.score))


def with_teacher_scores(
    queries: Sequence[str], passages: Sequence[Sequence[LabelledUnits]], teacher: Pruner, gold_share: float
) -> list[list[LabelledUnits]]:
    """Replace the labels of passages by a teacher's scores; whether a passage is relevant stays as it is.

    Args:
        queries: The query of each group of passages.
        passages: The groups, changed already.
        teacher: Model that scores the passages.
        gold_share: Share of the old labels in the new ones, in [0, 1].
    """
    texts = ((query, [units.passage for units in group]) for query, group in zip(queries, passages, strict=True))
    return [
        [_relabelled(units, result, gold_share) for units, result in zip(group, results, strict=True)]
        for group, results in zip(passages, score_passages(teacher, texts), strict=True)
    ]
