"""Metrics of pruning and reranking, each over one source's scored passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

RETENTION_LEVELS = np.linspace(0.5, 1.0, 51)
REPORTED_RETENTIONS = (0.90, 0.95, 0.98, 0.99)
_THRESHOLDS = 400


@dataclass(frozen=True, slots=True)
class ScoredUnits:
    """One passage's units as a system scored them.

    Attributes:
        characters: int64[units], length of each unit.
        scores: float64[units], keep scores; only their order counts, except at a fixed threshold.
        relevant: bool[units], whether the unit overlaps an answer span.
        passage_relevant: whether the passage answers the query.
    """

    characters: NDArray[np.int64]
    scores: FloatArray
    relevant: BoolArray
    passage_relevant: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """Retention and compression at each threshold, ascending.

    Attributes:
        thresholds: float64[n]; a unit is kept when its score is at least the threshold.
        retention: float64[n], share of relevant passages of which every unit that overlaps an answer span is kept.
        compression: float64[n], share of characters dropped over all passages.
    """

    thresholds: FloatArray
    retention: FloatArray
    compression: FloatArray

    def area(self) -> float:
        """Mean, over retention levels 0.50, 0.51 ... 1.00, of the best compression that still reaches the level."""
        return float(np.mean([self.compression_at(level) for level in RETENTION_LEVELS]))

    def compression_at(self, retention: float) -> float:
        """Best compression whose retention is at least that much (keeping everything always reaches it)."""
        reached = self.compression[self.retention >= retention - 1e-12]
        return float(reached.max()) if len(reached) else 0.0


def retention_compression(passages: Sequence[ScoredUnits]) -> Curve:
    """Compute the retention-compression curve of a source.

    Args:
        passages: all of the source's, at least one of them relevant with a relevant unit.
    """
    scores = np.concatenate([p.scores for p in passages])
    characters = np.concatenate([p.characters for p in passages]).astype(np.float64)
    # A relevant passage survives as long as its lowest relevant unit does.
    weakest = np.array(
        [p.scores[p.relevant].min() if p.relevant.any() else np.inf for p in passages if p.passage_relevant]
    )
    grid = np.quantile(np.unique(scores), np.linspace(0, 1, _THRESHOLDS))
    thresholds = np.unique(np.concatenate([[scores.min()], grid, [np.nextafter(scores.max(), np.inf)]]))
    order = np.argsort(scores)
    dropped = np.concatenate([[0.0], np.cumsum(characters[order])])
    compression = dropped[np.searchsorted(scores[order], thresholds, side="left")] / max(characters.sum(), 1.0)
    retention = np.array([(weakest >= t).mean() for t in thresholds])
    return Curve(thresholds, retention, compression)


def at_threshold(passages: Sequence[ScoredUnits], threshold: float) -> dict[str, float]:
    """Unit precision, recall and F1, retention and compression at one threshold."""
    kept = np.concatenate([p.scores >= threshold for p in passages])
    gold = np.concatenate([p.relevant for p in passages])
    characters = np.concatenate([p.characters for p in passages])
    hits = int((kept & gold).sum())
    precision, recall = hits / max(int(kept.sum()), 1), hits / max(int(gold.sum()), 1)
    retained = [bool((p.scores[p.relevant] >= threshold).all()) for p in passages if p.passage_relevant]
    return {
        "threshold": threshold,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-12),
        "retention": float(np.mean(retained)) if retained else 1.0,
        "compression": float(1 - characters[kept].sum() / max(characters.sum(), 1)),
    }


def reciprocal_rank(scores: Sequence[float], relevant: Sequence[bool]) -> float | None:
    """Reciprocal rank of the first relevant passage; None where all or none is relevant. Ties break by position."""
    if all(relevant) or not any(relevant):
        return None
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return 1.0 / (1 + next(rank for rank, i in enumerate(order) if relevant[i]))
