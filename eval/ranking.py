"""Ranking figures by query, computed by `ir_measures`: nDCG@10, MRR@10, MRR and Recall@5."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from secateur.eval.collections import ir_measures_library
from secateur.eval.units import FloatArray, Scores, Source

RANKING_FIGURES = {"mrr": "RR", "mrr@10": "RR@10", "ndcg@10": "nDCG@10", "recall@5": "R@5"}
"""Figures by name, with their names in `ir_measures`: reciprocal rank (uncut and at 10), nDCG (Jarvelin and Kekalainen
2002) and recall."""


def rank_figures(
    qrels: Mapping[str, Mapping[str, int]], ranking: Mapping[str, list[str]]
) -> dict[str, dict[str, float]]:
    """Return values by figure and query, without the queries that have no judgement.

    Args:
        qrels: Relevance grade of documents by query.
        ranking: Documents by query, best first.
    """
    library = ir_measures_library()
    # Ranks as scores: ties are already broken.
    run = {query: {name: float(-rank) for rank, name in enumerate(names)} for query, names in ranking.items()}
    measures = {library.parse_measure(measure): name for name, measure in RANKING_FIGURES.items()}
    found: dict[str, dict[str, float]] = {name: {} for name in RANKING_FIGURES}
    for metric in library.iter_calc(list(measures), {q: dict(j) for q, j in qrels.items()}, run):
        found[measures[metric.measure]][metric.query_id] = float(metric.value)
    return found


def ranking_by_query(source: Source, scores: Scores) -> dict[str, FloatArray]:
    """Return each figure float64[queries]; NaN for queries that cannot be ranked or that the system does not rank.

    A query can be ranked when some of its passages are relevant and some are not. Ties break by position.
    """
    qrels: dict[str, dict[str, int]] = {}
    ranking: dict[str, list[str]] = {}
    for number in range(len(source.examples)):
        own = source.passage_query == number
        relevant, relevance = source.relevant[own], scores.relevance[own]
        if relevant.any() and not relevant.all() and not np.isnan(relevance).any():
            qrels[str(number)] = {str(i): int(r) for i, r in enumerate(relevant)}
            ranking[str(number)] = [str(i) for i in np.argsort(-relevance, kind="stable")]
    result = {name: np.full(len(source.examples), np.nan) for name in RANKING_FIGURES}
    for name, values in rank_figures(qrels, ranking).items() if ranking else ():
        result[name][[int(query) for query in values]] = list(values.values())
    return result
