"""Figures of pruning over one source, each float64[rows] for the rows of bootstrap weights.

A unit is kept when its score is at least the threshold. The figures and their sources:

- ``retention``: share of relevant passages that keep every unit overlapping an answer span (answer recall of
  extractive QA at the level of passages; lost answers are 1 - retention).
- ``compression``: share of characters dropped over all passages (compression rate in Provence, section 4);
  ``compression_tokens`` counts tokens, ``compression_relevant`` and ``compression_irrelevant`` count characters of
  passages that do and do not answer.
- ``curve``: at each retention level 0.50, 0.51 ... 1.00 the best compression that still reaches it as the threshold
  moves; ``area`` is its mean, ``compression_at_retention`` some of its points.
- ``precision``, ``recall``, ``f1``, ``f2``: kept against answering units, pooled over the source (F2 weighs recall
  twice: van Rijsbergen 1979).
- ``line_recall``, for text by line: share of a query's gold lines among its best ones, when at least this share of the
  lines of all its passages is dropped; blank lines do not count.
- ranking figures: see `secateur.eval.collections`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from secateur.eval.bootstrap import FloatArray, ratio, weighted_mean
from secateur.eval.systems.base import BoolArray
from secateur.eval.units import IntArray, Scores, Source

RETENTION_LEVELS = np.linspace(0.5, 1.0, 51)
LINE_DROPS = (0.50, 0.70, 0.90)
_REPORTED_RETENTIONS = (0.90, 0.95, 0.98, 0.99)
_HISTOGRAM_EDGES = np.linspace(0.0, 1.0, 21)
_THRESHOLDS = 400
_RELIABILITY_EDGES = np.linspace(0.0, 1.0, 11)

Figures = dict[str, FloatArray]


def sum_by(values: NDArray[np.generic], owner: IntArray, owners: int) -> FloatArray:
    """Return float64[owners], the sum of the values that belong to each query or passage."""
    return np.bincount(owner, weights=values.astype(np.float64), minlength=owners).astype(np.float64)


def _below(
    thresholds: FloatArray, scores: FloatArray, values: NDArray[np.generic], query: IntArray, queries: int
) -> FloatArray:
    """Return float64[queries, thresholds], the sum of each query's values whose score is below the threshold."""
    steps = np.searchsorted(thresholds, scores, side="right")  # the first threshold above a score drops its unit
    inside, columns = steps < len(thresholds), len(thresholds)
    flat = sum_by(values[inside], query[inside] * columns + steps[inside], queries * columns)
    return flat.reshape(queries, columns).cumsum(axis=1)


def weakest_units(source: Source, scores: Scores) -> FloatArray:
    """Return float64[passages], the lowest score among each passage's answering units; inf where it has none."""
    weakest = np.full(len(source.relevant), np.inf)
    np.minimum.at(weakest, source.unit_passage[source.gold], scores.units[source.gold])
    return weakest


def _thresholds(scores: FloatArray) -> FloatArray:
    """Return the ascending thresholds of a curve, from keeping everything to keeping nothing."""
    grid = np.quantile(np.unique(scores), np.linspace(0, 1, _THRESHOLDS))
    return np.unique(np.concatenate([[scores.min()], grid, [np.nextafter(scores.max(), np.inf)]]))


def curve(source: Source, scores: Scores, weights: FloatArray) -> FloatArray | None:
    """Return float64[rows, levels], the best compression at each retention level; None without a relevant passage."""
    if not source.relevant.any() or not len(scores.units):
        return None
    queries, thresholds = len(source.examples), _thresholds(scores.units)
    dropped = _below(thresholds, scores.units, source.characters, source.unit_query, queries)
    weakest = weakest_units(source, scores)
    lost = _below(thresholds, weakest, source.relevant, source.passage_query, queries)
    relevant = sum_by(source.relevant, source.passage_query, queries)
    characters = sum_by(source.characters, source.unit_query, queries)
    compression = ratio(weights @ dropped, (weights @ characters)[:, None])
    retention = 1 - ratio(weights @ lost, (weights @ relevant)[:, None])
    points = np.empty((len(weights), len(RETENTION_LEVELS)))
    for column, level in enumerate(RETENTION_LEVELS):
        # Retention falls and compression rises with the threshold: the best is the last threshold that reaches it.
        last = (retention >= level - 1e-12).sum(axis=1) - 1
        points[:, column] = np.where(last >= 0, compression[np.arange(len(weights)), np.maximum(last, 0)], np.nan)
    return points


def figures_at(source: Source, scores: Scores, threshold: float, weights: FloatArray) -> Figures:
    """Compute the figures at one threshold, for the rows of the weights float64[rows, queries]."""
    queries = len(source.examples)
    kept, gold = scores.units >= threshold, source.gold
    in_relevant, everywhere = source.relevant[source.unit_passage], np.ones_like(source.gold)

    def total(values: NDArray[np.generic]) -> FloatArray:
        return weights @ sum_by(values, source.unit_query, queries)

    def dropped(counts: IntArray, among: BoolArray) -> FloatArray:
        return 1 - ratio(total(counts * (kept & among)), total(counts * among))

    hits, chosen, wanted = total(kept & gold), total(kept), total(gold)
    whole = source.relevant & (weakest_units(source, scores) >= threshold)
    retained, relevant = (weights @ sum_by(one, source.passage_query, queries) for one in (whole, source.relevant))
    return {
        "precision": ratio(hits, chosen),
        "recall": ratio(hits, wanted),
        "f1": ratio(2 * hits, chosen + wanted),
        "f2": ratio(5 * hits, chosen + 4 * wanted),
        "retention": ratio(retained, relevant),
        "compression": dropped(source.characters, everywhere),
        "compression_tokens": dropped(source.tokens, everywhere),
        "compression_relevant": dropped(source.characters, in_relevant),
        "compression_irrelevant": dropped(source.characters, ~in_relevant),
    }


def figures(source: Source, scores: Scores, threshold: float | None, weights: FloatArray) -> Figures:
    """Compute the figures of pruning; those at the system's default threshold, if any, are named ``default.*``."""
    found: Figures = {}
    points = curve(source, scores, weights)
    if points is not None:
        found["area"] = points.mean(axis=1)
        for level in _REPORTED_RETENTIONS:
            column = int(np.argmin(np.abs(RETENTION_LEVELS - level)))
            found[f"compression_at_retention.{level:.2f}"] = points[:, column]
    if threshold is not None:
        at = figures_at(source, scores, threshold, weights)
        if points is None:  # without an answer to keep, only what is dropped can be measured
            at = {name: at[name] for name in at if name.startswith("compression")}
        found |= {f"default.{name}": figure for name, figure in at.items() if not np.isnan(figure[0])}
    return found


def line_recall(source: Source, units: FloatArray) -> dict[float, FloatArray]:
    """Return by the share of dropped lines float64[queries], the recall of gold lines; NaN for a query without any.

    Args:
        source: A source whose units are lines.
        units: Score of each unit; ties break by position.
    """
    found = {share: np.full(len(source.examples), np.nan) for share in LINE_DROPS}
    for query in np.unique(source.unit_query[source.gold]).tolist():
        own = source.unit_query == query
        gold = source.gold[own][np.argsort(-units[own], kind="stable")]
        for share, recalls in found.items():
            recalls[query] = gold[: int((1 - share) * len(gold) + 1e-9)].sum() / gold.sum()
    return found


def line_figures(by_query: Mapping[float, FloatArray], weights: FloatArray) -> Figures:
    """Return the means of `line_recall` as figures."""
    return {f"line_recall.{share:.2f}": weighted_mean(recalls, weights) for share, recalls in by_query.items()}


def histogram(source: Source, scores: Scores) -> dict[str, list[float] | list[int]]:
    """Count answering and other units by score; scores outside [0, 1] fall into the outer bins."""
    clipped = np.clip(scores.units, 0, 1)
    return {
        "edges": _HISTOGRAM_EDGES.round(4).tolist(),
        "gold": np.histogram(clipped[source.gold], _HISTOGRAM_EDGES)[0].tolist(),
        "other": np.histogram(clipped[~source.gold], _HISTOGRAM_EDGES)[0].tolist(),
    }


def reliability(source: Source, scores: Scores) -> list[dict[str, float]]:
    """Return, by tenths of the score, the mean score and the share of answering units (DeGroot and Fienberg 1983)."""
    bins = np.clip(np.digitize(scores.units, _RELIABILITY_EDGES) - 1, 0, len(_RELIABILITY_EDGES) - 2)
    edges = _RELIABILITY_EDGES.round(4).tolist()
    return [
        {
            "low": edges[number],
            "high": edges[number + 1],
            "mean": float(scores.units[bins == number].mean()),
            "share": float(source.gold[bins == number].mean()),
            "units": int((bins == number).sum()),
        }
        for number in np.unique(bins).tolist()
    ]
