"""Rankings of rows, and how to fuse several: reciprocal ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows by falling score.

    Attributes:
        rows: int64[n], of the index.
        scores: float32[n], falling; ties stand by row.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def nothing(cls) -> Ranking:
        """Return the ranking without rows."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    def positive(self) -> Ranking:
        """Return the rows with a score above 0."""
        keep = self.scores > 0
        return Ranking(self.rows[keep], self.scores[keep])


def ranked(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Ranking:
    """Return the best of some rows."""
    order = np.lexsort((rows, -scores))[:k]
    return Ranking(rows[order].astype(np.int64), scores[order].astype(np.float32))


def top(scores: NDArray[np.float32], k: int) -> Ranking:
    """Return the best rows of an index by the scores of all of them, float32[rows]."""
    k = min(k, len(scores))
    if not k:
        return Ranking.nothing()
    bar = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero(scores >= bar)  # with every tie at the bar, so that ties stand by row
    return ranked(rows, scores[rows], k)


def fuse(rankings: Sequence[Ranking], k: int, constant: float = 60.0) -> Ranking:
    """Fuse rankings of one query: a row's score is the sum of 1 / (constant + rank) over the rankings that have it.

    Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009).

    Args:
        rankings: of the same index.
        k: rows to return.
        constant: how much the first ranks count above the later ones; the smaller, the more.
    """
    sums: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking.rows.tolist(), 1):
            sums[row] = sums.get(row, 0.0) + 1.0 / (constant + rank)
    rows = np.fromiter(sums, dtype=np.int64, count=len(sums))
    return ranked(rows, np.fromiter(sums.values(), dtype=np.float32, count=len(sums)), k)
