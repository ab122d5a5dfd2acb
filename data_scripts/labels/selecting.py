"""The select step: pairs to label under a budget, at random, spread over the embedding space, or the most uncertain."""

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
from secateur.data_scripts.validation import Count, check
from secateur.labelled.blocks import blocks
from secateur.labelled.json_files import write_json_lines
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PruneRequest

SelectBy = Literal["random", "diverse", "uncertain"]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""From texts to float32[texts, dimensions], each row of length 1."""

_NEIGHBOURS = 150
_DISCOUNT = 10.0
_BLOCK = 256  # pairs scored at once


def nearest(vectors: NDArray[np.float32], neighbours: int) -> NDArray[np.int64]:
    """Return the rows of the nearest others of each of ``vectors``, float32[n, dimensions] of length 1; ties by row."""
    k = min(neighbours, len(vectors) - 1)
    rows = np.empty((len(vectors), k), dtype=np.int64)
    for start in range(0, len(vectors), 1024):
        cosines = vectors[start : start + 1024] @ vectors.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf
        rows[start : start + 1024] = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return rows


def vote_k(vectors: NDArray[np.float32], count: int, neighbours: int = _NEIGHBOURS) -> list[int]:
    """Return rows of items that are typical and different from each other, in the order of their choice.

    Each item votes for its nearest neighbours; a vote weighs ten times less for each of the voter's neighbours that is
    already chosen. The greedy part of vote-k (Su et al., ICLR 2023, arXiv 2209.01975, section 2.1). A heap of outdated
    scores, which can only fall, replaces the scoring of all items for each choice.

    Args:
        vectors: float32[n, dimensions], each of length 1.
        count: Items to choose, at most n.
        neighbours: Votes of each item.
    """
    voters: list[list[int]] = [[] for _ in vectors]
    for voter, row in enumerate(nearest(vectors, neighbours)):
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
    """Return a pruner's uncertainty about each pair: the mean binary entropy, in bits, of its units' scores."""
    found: list[float] = []
    options = PruneOptions(return_units=True, truncate_query=True, threshold=0.5)
    for block in blocks(pairs, _BLOCK):
        passages = (Passage(pair.passage, title=pair.title or None, format=pair.format) for pair in block)
        requests = [PruneRequest(pair.query, (one,), options) for pair, one in zip(block, passages, strict=True)]
        for result in pruner.prune_many(requests):
            units = result.results[0].units or ()
            scores = np.clip([u.score for u in units if u.kind != "markup"] or [0.0], 1e-9, 1 - 1e-9)
            found.append(float(np.mean(-scores * np.log2(scores) - (1 - scores) * np.log2(1 - scores))))
    return found


def select(
    source: Path, out: Path, count: int, by: SelectBy, embed: Embed, seed: int = 13, model: str | None = None
) -> int:
    """Choose ``count`` pairs to label, write them in their old order, and return their number.

    Pairs with a blank query or passage are never chosen. The choice is ``random`` by the seed; ``diverse`` by `vote_k`
    over the embeddings, without a measured gain; or ``uncertain`` by `uncertainty` of a Secateur model, the shipped one
    by default, which finds more of the pairs that the model gets wrong.
    """
    check("count", count, Count)
    pairs = [pair for pair in read_pairs(source) if pair.query.strip() and pair.passage.strip()]
    if len(pairs) <= count:
        rows = list(range(len(pairs)))
    elif by == "random":
        rows = random.Random(seed).sample(range(len(pairs)), count)
    elif by == "diverse":
        rows = vote_k(embed([f"{pair.query} {pair.passage}" for pair in pairs]), count)
    else:
        scores = uncertainty(Pruner.load(model), pairs)
        rows = sorted(range(len(pairs)), key=lambda row: (-scores[row], row))[:count]
    return write_json_lines(out, (pairs[row] for row in sorted(rows)))
