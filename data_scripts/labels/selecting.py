"""What to label under a budget: pairs at random, spread over the embedding space, or where a model is least sure."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from secateur.data_scripts.labels.run import read_pairs
from secateur.data_scripts.records import Pair
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PruneRequest

SelectBy = Literal["random", "diverse", "uncertain"]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to float32[texts, dimensions], each row of length 1."""

_NEIGHBOURS = 150
_DISCOUNT = 10.0
_BLOCK = 256  # pairs scored at once


def nearest(vectors: NDArray[np.float32], neighbours: int) -> NDArray[np.int64]:
    """Return for each vector the rows of its nearest others.

    Args:
        vectors: float32[n, dimensions], of length 1.
        neighbours: at most n - 1 are returned.

    Returns:
        int64[n, min(neighbours, n - 1)], by falling cosine; ties by row.
    """
    count = len(vectors)
    k = min(neighbours, count - 1)
    rows = np.empty((count, k), dtype=np.int64)
    for start in range(0, count, 1024):
        cosines = vectors[start : start + 1024] @ vectors.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf
        rows[start : start + 1024] = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return rows


def vote_k(vectors: NDArray[np.float32], count: int, neighbours: int = _NEIGHBOURS) -> list[int]:
    """Choose items that are typical and unlike each other.

    Each item votes for its nearest neighbours; a vote weighs ten times less for each neighbour of the voter that is
    chosen already. The greedy part of vote-k (Su et al., ICLR 2023, arXiv 2209.01975, section 2.1), with a heap of
    outdated scores, which can only fall, instead of all scores anew.

    Args:
        vectors: float32[n, dimensions], of length 1.
        count: to choose, at most n.
        neighbours: edges of each item.

    Returns:
        The chosen rows in the order of their choice; ties by row.
    """
    edges = nearest(vectors, neighbours)
    voters: list[list[int]] = [[] for _ in vectors]
    for voter, row in enumerate(edges):
        for candidate in row:
            voters[candidate].append(voter)
    weights = np.ones(len(vectors))
    chosen: list[int] = []
    heap = [(-float(len(voters[row])), row) for row in range(len(vectors))]
    heapq.heapify(heap)
    while len(chosen) < count:
        outdated, row = heapq.heappop(heap)
        score = -float(weights[voters[row]].sum())
        if score > outdated:
            heapq.heappush(heap, (score, row))
            continue
        chosen.append(row)
        weights[row] = 0.0  # a chosen item votes no more
        for voter in voters[row]:
            weights[voter] /= _DISCOUNT
    return chosen


def uncertainty(pruner: Pruner, pairs: Sequence[Pair]) -> list[float]:
    """Return how unsure a pruner is about each pair: the mean binary entropy, in bits, of its units' keep scores."""
    found: list[float] = []
    options = PruneOptions(return_units=True, truncate_query=True, threshold=0.5)
    for start in range(0, len(pairs), _BLOCK):
        requests = [
            PruneRequest(pair.query, (Passage(pair.passage, title=pair.title or None),), options)
            for pair in pairs[start : start + _BLOCK]
        ]
        for result in pruner.prune_many(requests):
            units = result.results[0].units or ()
            scores = np.clip([unit.score for unit in units] or [0.0], 1e-9, 1 - 1e-9)
            found.append(float(np.mean(-scores * np.log2(scores) - (1 - scores) * np.log2(1 - scores))))
    return found


def _chosen(pairs: Sequence[Pair], count: int, by: SelectBy, seed: int, model: str | None, embed: Embed) -> list[int]:
    if by == "random":
        return random.Random(seed).sample(range(len(pairs)), count)
    if by == "diverse":
        return vote_k(embed([f"{pair.query} {pair.passage}" for pair in pairs]), count)
    scores = uncertainty(Pruner.load(model), pairs)
    return sorted(range(len(pairs)), key=lambda row: (-scores[row], row))[:count]


def select(
    source: Path, out: Path, count: int, by: SelectBy, embed: Embed, seed: int = 13, model: str | None = None
) -> int:
    """Choose the pairs that are worth a label, and write them in their old order.

    Args:
        source: JSON lines of `Pair`; queries and passages must not be blank.
        out: the chosen ones.
        count: to choose; all where there are fewer.
        by: ``random``, ``diverse`` (`vote_k`) or ``uncertain`` (`uncertainty`).
        embed: for ``diverse``.
        seed: for ``random``.
        model: for ``uncertain``: a model directory; None for the shipped one.

    Returns:
        How many were chosen.

    Raises:
        InputError: the count is not positive.
        DataError: a file cannot be read or written.
        ModelError: the model cannot be loaded.
    """
    if count < 1:
        raise InputError("count", f"{count!r} is less than 1", "give how many pairs to label")
    pairs = [pair for pair in read_pairs(source) if pair.query.strip() and pair.passage.strip()]
    rows = range(len(pairs)) if len(pairs) <= count else sorted(_chosen(pairs, count, by, seed, model, embed))
    return write_json_lines(out, (pairs[row] for row in rows))
