"""Figures of pruning and ranking over one source, each as float64[rows] for the rows of bootstrap weights.

A unit is kept when its score is at least the threshold. Names, and where they come from:

- ``retention``: share of relevant passages of which every unit that overlaps an answer span is kept (answer recall of
  extractive QA at the level of passages; "lost" answers are 1 - retention).
- ``compression``: share of characters dropped over all passages (Provence, section 4: compression rate);
  ``compression_tokens`` counts tokens, ``compression_relevant`` and ``compression_irrelevant`` count characters of
  passages that do and do not answer.
- ``curve``: at each retention level 0.50, 0.51 ... 1.00 the best compression that still reaches it as the threshold
  moves; ``area`` is its mean, ``compression_at_retention`` some of its points.
- ``precision``, ``recall``, ``f1``, ``f2``: of kept against answering units, pooled over the source (F2 weighs recall
  twice: van Rijsbergen 1979).
- ``count_agreement``: share of passages whose kept units are as many as the answering ones, in the classes 0, 1, 2, 3
  and 4 or more (Provence chooses how many sentences to keep by itself, section 4.2).
- ranking figures: see `secateur.eval.ranking`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.eval.bootstrap import ratio
from secateur.eval.units import FloatArray, IntArray, Scores, Source

RETENTION_LEVELS = np.linspace(0.5, 1.0, 51)
REPORTED_RETENTIONS = (0.90, 0.95, 0.98, 0.99)
COUNT_CLASSES = 5
HISTOGRAM_EDGES = np.linspace(0.0, 1.0, 21)
_THRESHOLDS = 400
_RELIABILITY_EDGES = np.linspace(0.0, 1.0, 11)

Figures = dict[str, FloatArray]


def sum_by(values: NDArray[np.generic], owner: IntArray, owners: int) -> FloatArray:
    """Return float64[owners]: the sum of the values that belong to each query (or passage)."""
    summed: FloatArray = np.bincount(owner, weights=values.astype(np.float64), minlength=owners)  # type: ignore[assignment]
    return summed


def _cumulative(steps: IntArray, values: FloatArray, query: IntArray, shape: tuple[int, int]) -> FloatArray:
    """Return float64[queries, thresholds]: the sum of each query's values whose step is at or before the threshold."""
    queries, thresholds = shape
    inside = steps < thresholds
    flat = np.bincount(
        query[inside] * thresholds + steps[inside], weights=values[inside], minlength=queries * thresholds
    )
    return flat.reshape(shape).cumsum(axis=1)


def weakest_units(source: Source, scores: Scores) -> FloatArray:
    """Return float64[passages]: the lowest score among each passage's answering units; inf where it has none."""
    weakest = np.full(len(source.relevant), np.inf)
    np.minimum.at(weakest, source.unit_passage[source.gold], scores.units[source.gold])
    return weakest


def thresholds_for(scores: FloatArray) -> FloatArray:
    """Return the thresholds that a curve is drawn over, ascending: from keeping all to keeping nothing."""
    grid = np.quantile(np.unique(scores), np.linspace(0, 1, _THRESHOLDS))
    return np.unique(np.concatenate([[scores.min()], grid, [np.nextafter(scores.max(), np.inf)]]))


def curve(source: Source, scores: Scores, weights: FloatArray) -> FloatArray | None:
    """Return float64[rows, levels]: the best compression at each retention level; None without a relevant passage.

    Args:
        source: of one name.
        scores: of one system.
        weights: float64[rows, queries].
    """
    if not source.relevant.any() or not len(scores.units):
        return None
    queries = len(source.examples)
    thresholds = thresholds_for(scores.units)
    shape = (queries, len(thresholds))
    # The first threshold above a score is the first that drops it.
    dropped = _cumulative(
        np.searchsorted(thresholds, scores.units, side="right"),
        source.characters.astype(np.float64),
        source.unit_query,
        shape,
    )
    weakest = weakest_units(source, scores)[source.relevant]
    lost = _cumulative(
        np.searchsorted(thresholds, weakest, side="right"),
        np.ones(len(weakest)),
        source.passage_query[source.relevant],
        shape,
    )
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


def kept_counts(source: Source, scores: Scores, threshold: float) -> tuple[IntArray, IntArray]:
    """Return int64[passages] twice: the class (0, 1, 2, 3, 4 or more) of each passage's answering and kept units."""
    passages = len(source.relevant)
    gold, kept = (
        np.minimum(sum_by(chosen, source.unit_passage, passages).astype(np.int64), COUNT_CLASSES - 1)
        for chosen in (source.gold, scores.units >= threshold)
    )
    return gold, kept


def figures_at(source: Source, scores: Scores, threshold: float, weights: FloatArray) -> Figures:
    """Compute the figures at one threshold.

    Args:
        source: of one name.
        scores: of one system.
        threshold: units with at least this score are kept.
        weights: float64[rows, queries].
    """
    queries = len(source.examples)
    kept, gold = scores.units >= threshold, source.gold
    in_relevant = source.relevant[source.unit_passage]

    def total(values: NDArray[np.generic]) -> FloatArray:
        return weights @ sum_by(values, source.unit_query, queries)

    def dropped(counts: IntArray, among: NDArray[np.bool_]) -> FloatArray:
        return 1 - ratio(total(counts * (kept & among)), total(counts * among))

    hits, chosen, wanted = total(kept & gold), total(kept), total(gold)
    lost = source.relevant & (weakest_units(source, scores) < threshold)
    gold_class, kept_class = kept_counts(source, scores, threshold)
    passages = weights @ sum_by(np.ones(len(source.relevant)), source.passage_query, queries)
    everywhere = np.ones_like(in_relevant)
    return {
        "precision": ratio(hits, chosen),
        "recall": ratio(hits, wanted),
        "f1": ratio(2 * hits, chosen + wanted),
        "f2": ratio(5 * hits, chosen + 4 * wanted),
        "retention": 1
        - ratio(
            weights @ sum_by(lost, source.passage_query, queries),
            weights @ sum_by(source.relevant, source.passage_query, queries),
        ),
        "compression": dropped(source.characters, everywhere),
        "compression_tokens": dropped(source.tokens, everywhere),
        "compression_relevant": dropped(source.characters, in_relevant),
        "compression_irrelevant": dropped(source.characters, ~in_relevant),
        "count_agreement": ratio(weights @ sum_by(gold_class == kept_class, source.passage_query, queries), passages),
    }


def figures(source: Source, scores: Scores, threshold: float | None, weights: FloatArray) -> Figures:
    """Compute the figures of pruning; those at the default threshold are named ``default.*``.

    Args:
        source: of one name.
        scores: of one system.
        threshold: the system's own; None when it has none.
        weights: float64[rows, queries].
    """
    found: Figures = {}
    points = curve(source, scores, weights)
    if points is not None:
        found["area"] = points.mean(axis=1)
        for level in REPORTED_RETENTIONS:
            column = int(np.argmin(np.abs(RETENTION_LEVELS - level)))
            found[f"compression_at_retention.{level:.2f}"] = points[:, column]
    if threshold is not None:
        at = figures_at(source, scores, threshold, weights)
        if points is None:  # no answer to keep: only what is dropped can be measured
            at = {name: at[name] for name in at if name.startswith("compression") or name == "count_agreement"}
        found |= {f"default.{name}": figure for name, figure in at.items() if not np.isnan(figure[0])}
    return found


def histogram(source: Source, scores: Scores) -> dict[str, list[float] | list[int]]:
    """Count units by score, answering units and others apart; scores outside [0, 1] fall into the outer bins."""
    clipped = np.clip(scores.units, 0, 1)
    return {
        "edges": HISTOGRAM_EDGES.round(4).tolist(),
        "gold": np.histogram(clipped[source.gold], HISTOGRAM_EDGES)[0].tolist(),
        "other": np.histogram(clipped[~source.gold], HISTOGRAM_EDGES)[0].tolist(),
    }


def reliability(source: Source, scores: Scores) -> list[dict[str, float]]:
    """Return, by tenths of the score, the mean score and the share of answering units (DeGroot and Fienberg 1983)."""
    bins = np.clip(np.digitize(scores.units, _RELIABILITY_EDGES) - 1, 0, len(_RELIABILITY_EDGES) - 2)
    rows = []
    for number in np.unique(bins).tolist():
        inside = bins == number
        rows.append(
            {
                "low": float(_RELIABILITY_EDGES[number].round(4)),
                "high": float(_RELIABILITY_EDGES[number + 1].round(4)),
                "mean": float(scores.units[inside].mean()),
                "share": float(source.gold[inside].mean()),
                "units": int(inside.sum()),
            }
        )
    return rows
