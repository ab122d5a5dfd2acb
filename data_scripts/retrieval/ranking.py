"""Rankings of an index's rows, their fusion, and the Rocchio move of a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of an index, int64[n], by falling scores, float32[n]; ties are in the order of rows."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    def first(self, k: int) -> Ranking:
        """Return the first k rows."""
        return Ranking(self.rows[:k], self.scores[:k])


def ranked(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Ranking:
    """Return the best k of some rows."""
    order = np.lexsort((rows, -scores))[:k]
    return Ranking(rows[order].astype(np.int64), scores[order].astype(np.float32))


def top(scores: NDArray[np.float32], k: int) -> Ranking:
    """Return the best k rows of an index by the scores of all of them, float32[rows]."""
    k = min(k, len(scores))
    bar = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
    rows = np.flatnonzero(scores >= bar)  # with every tie at the bar, so that ties are in the order of rows
    return ranked(rows, scores[rows], k)


def fuse(rankings: Sequence[Ranking], k: int, constant: float = 60.0) -> Ranking:
    """Fuse rankings of one query: a row's score is the sum of 1 / (constant + rank) over the rankings that have it.

    Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009). The smaller the constant, the more the first
    ranks count.
    """
    sums: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking.rows.tolist(), 1):
            sums[row] = sums.get(row, 0.0) + 1.0 / (constant + rank)
    rows = np.fromiter(sums, dtype=np.int64, count=len(sums))
    return ranked(rows, np.fromiter(sums.values(), dtype=np.float32, count=len(sums)), k)


def rocchio(query: NDArray[np.float32], found: NDArray[np.float32], alpha: float, beta: float) -> NDArray[np.float32]:
    """Return alpha * query + beta * mean of the passages that it found, scaled to length 1.

    Dense pseudo-relevance feedback (Li et al., TOIS 2023, arXiv 2108.11044, section 3.2, "vector-based Rocchio"). The
    query is float32[dimensions], the passages are float32[passages, dimensions], at least one.
    """
    moved = alpha * query + beta * found.mean(axis=0)
    return np.asarray(moved / max(float(np.linalg.norm(moved)), 1e-12), dtype=np.float32)
