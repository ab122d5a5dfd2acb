"""Conformal risk control: the threshold that keeps a target recall.

Method: Angelopoulos et al., Conformal Risk Control (ICLR 2024), with the weights of Tibshirani et al., Conformal
Prediction Under Covariate Shift (2019), where sources of different size count the same. The loss of a query is the
share of its answering units that score below the threshold, averaged over its relevant passages. It rises with the
threshold. The highest threshold whose weighted mean loss, with one more query of loss 1 added, is at most alpha keeps
the expected loss of a query like the calibration's at most alpha.

Queries in use may come from other domains than the calibration data. Several sources are therefore treated as a sample
of domains, and an upper confidence bound of the mean loss over domains must be at most alpha too (Bates et al.,
Risk-controlling Prediction Sets, JACM 2021; here by Student's t over the sources' mean losses).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.models.errors import DataError
from secateur.training.scoring import LabelledScores

FloatArray = NDArray[np.float64]

DELTA = 0.01  # probability that the mean loss over domains exceeds its bound


@dataclass(frozen=True, slots=True)
class QueryLoss:
    """The loss of one query as a step function of the threshold: above each of ``scores`` it is ``steps`` higher."""

    scores: FloatArray
    steps: FloatArray


def query_loss(passages: Sequence[LabelledScores]) -> QueryLoss | None:
    """Return a query's loss; None without a relevant passage that has an answering unit."""
    answering = [p.scores[p.gold] for p in passages if p.relevant and p.gold.any()]
    if not answering:
        return None
    steps = [np.full(len(scores), 1 / len(scores) / len(answering)) for scores in answering]
    return QueryLoss(np.concatenate(answering), np.concatenate(steps))


def expected_loss(queries: Iterable[Sequence[LabelledScores]], threshold: float) -> float:
    """Return the mean share of answering units below a threshold, over queries with an answer; nan without one."""
    losses = [loss for passages in queries if (loss := query_loss(passages)) is not None]
    return float(np.mean([loss.steps[loss.scores < threshold].sum() for loss in losses])) if losses else float("nan")


def source_weights(sizes: Mapping[str, int], *, balance: bool) -> dict[str, float]:
    """Return the weight of a query of each source: 1, or, balanced, so that all sources count the same."""
    mean = sum(sizes.values()) / len(sizes)
    return {name: mean / size if balance else 1.0 for name, size in sizes.items()}


def _summed(losses: Sequence[QueryLoss], weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the scores of all queries in rising order, and the weighted sum of losses above each, after a first 0."""
    scores = np.concatenate([loss.scores for loss in losses])
    steps = np.concatenate([loss.steps * weight for loss, weight in zip(losses, weights, strict=True)])
    order = np.argsort(scores)
    return scores[order], np.concatenate([[0.0], np.cumsum(steps[order])])


def _domain_bounds(losses: Sequence[QueryLoss], sources: Sequence[str], thresholds: FloatArray) -> FloatArray:
    """Return, at each threshold, an upper confidence bound of the mean loss over domains like the sources.

    The t bound assumes that the sources' mean losses are normally distributed. Bates et al. bound losses in [0, 1]
    without this assumption, but a dozen sources are too few for that.

    Args:
        losses: Loss of each query.
        sources: Source of each query.
        thresholds: float64[thresholds].
    """
    from scipy.stats import t

    means = []
    for name in dict.fromkeys(sources):
        own = [loss for loss, source in zip(losses, sources, strict=True) if source == name]
        scores, lost = _summed(own, np.full(len(own), 1 / len(own)))
        means.append(lost[np.searchsorted(scores, thresholds, side="left")])
    by_source = np.array(means)
    error = by_source.std(axis=0, ddof=1) / len(means) ** 0.5
    bounds: FloatArray = by_source.mean(axis=0) + t.ppf(1 - DELTA, len(means) - 1) * error
    return bounds


def highest_threshold(
    losses: Sequence[QueryLoss], weights: FloatArray, alpha: float, domains: Sequence[str] | None = None
) -> tuple[float, float, float]:
    """Return the highest threshold whose expected loss is at most alpha, with its bound and its mean loss.

    Args:
        losses: Loss of each query.
        weights: float64[queries], how much more frequent a query like this one is in use than here.
        alpha: Largest share of answering units that may be lost, in (0, 1).
        domains: Source of each query; None not to treat the sources as a sample of domains.

    Raises:
        DataError: there are too few queries for so small an alpha.
    """
    total = float(weights.sum())
    extra = float(weights.max())  # the next query may be of the heaviest source and lose everything
    scores, summed = _summed(losses, weights)
    # A threshold loses the units with lower scores.
    thresholds, first = np.unique(scores, return_index=True)
    lost = summed[first]
    bounds = (lost + extra) / (total + extra)
    if domains is not None:
        # The spread of sources may shrink as losses grow: a threshold is safe only if all lower ones are.
        bounds = np.maximum.accumulate(np.maximum(bounds, _domain_bounds(losses, domains, thresholds)))
    if bounds[0] > alpha:
        raise DataError(
            f"calibration: too few queries to promise a loss of at most {alpha:g}; the lowest loss that can be "
            f"promised is {bounds[0]:.3f}"
        )
    best = int(np.searchsorted(bounds, alpha, side="right")) - 1
    # Rounded down, so that the number in the file loses no more than the exact one.
    threshold = max(0.0, float(np.floor(thresholds[best] * 1e6) / 1e6))
    return threshold, float(bounds[best]), float(lost[best] / total)
