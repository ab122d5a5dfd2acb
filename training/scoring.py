"""Scoring passages with a pruner, for calibration, export and distillation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from secateur.labelled.blocks import blocks
from secateur.labelled.examples import Example
from secateur.labelled.readable import is_scored
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import clean_passage
from secateur.models.segmentation import segment
from secateur.models.segmenters import get_segmenter
from secateur.models.types import Passage, PassageResult, PruneRequest

_BLOCK = 64  # queries that are batched together
SCORING = PruneOptions(
    threshold=0.5,
    reorder=False,
    keep_relevant=False,
    keep_structure=False,
    return_units=True,
    truncate_query=True,
)
"""Options that keep by score alone."""


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """A passage's keep probabilities float64[units], and gold bool[units]: whether each overlaps a labelled span."""

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
    """Score the passages of each example, except those without text; the model reads their titles if asked to.

    Markup, which is never kept, has no score.
    """
    segmenter = get_segmenter(pruner.config.segmenter, pruner.directory)
    queries = (
        (e.query, [p.passage if titles else replace(p.passage, title=None) for p in e.passages]) for e in examples
    )
    for example, results in zip(examples, score_passages(pruner, queries), strict=True):
        found = []
        for labelled, result in zip(example.passages, results, strict=True):
            units = segment(clean_passage(labelled.passage), segmenter)
            own = [is_scored(labelled.passage.text, unit) for unit in units]
            if any(own):
                scores = np.array([unit.score for unit in result.units or ()], dtype=np.float64)
                gold = np.array(labelled.unit_labels(units))
                found.append(LabelledScores(scores[own], gold[own], labelled.relevant))
        yield found
