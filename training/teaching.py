"""Distillation: labels from a larger model's keep probabilities and relevance (Hinton et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import PassageResult, PruneRequest, Unit
from secateur.training.changes import LabelledUnits

_CHUNK = 64  # queries that are batched together
_OPTIONS = PruneOptions(threshold=0.5, reorder=False, keep_title=False, return_units=True, truncate_query=True)
_MAX_LOGIT = 12.0  # of a relevance that a runtime rounded to 0 or 1


def scores_on(units: Sequence[Unit], result: PassageResult, length: int) -> list[float]:
    """Return a teacher's keep probability of each unit, by characters where it segments otherwise.

    Args:
        units: that tile the text.
        result: the teacher's, with its own units.
        length: of the text.
    """
    by_character = np.zeros(length)
    for unit in result.units or ():
        by_character[unit.start : unit.end] = unit.score
    return [float(by_character[unit.start : unit.end].mean()) for unit in units]


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        return math.copysign(_MAX_LOGIT, probability - 0.5)
    return max(-_MAX_LOGIT, min(_MAX_LOGIT, math.log(probability / (1 - probability))))


def taught(
    queries: Sequence[str], passages: Sequence[Sequence[LabelledUnits]], teacher: Pruner, gold_share: float
) -> list[list[LabelledUnits]]:
    """Label passages by a teacher.

    Args:
        queries: one each group of passages.
        passages: as they will be learned from, changed already.
        teacher: scores them as they are.
        gold_share: of the old labels in the new ones, in [0, 1].

    Returns:
        The same passages; whether they are relevant, which is for the losses that need a yes or no, stays.
    """
    found: list[list[LabelledUnits]] = []
    for start in range(0, len(queries), _CHUNK):
        groups = passages[start : start + _CHUNK]
        requests = [
            PruneRequest(query, tuple(units.passage for units in group), _OPTIONS)
            for query, group in zip(queries[start : start + _CHUNK], groups, strict=True)
            if group
        ]
        results = iter(teacher.prune_many(requests))
        for group in groups:
            if not group:
                found.append([])
                continue
            labelled = []
            for units, result in zip(group, next(results).results, strict=True):
                soft = scores_on(units.units, result, len(units.passage.text))
                mixed = (
                    gold_share * gold + (1 - gold_share) * score for gold, score in zip(units.labels, soft, strict=True)
                )
                labelled.append(replace(units, labels=tuple(mixed), teacher=_logit(result.score)))
            found.append(labelled)
    return found
