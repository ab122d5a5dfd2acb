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

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.models.calibration import Level
from secateur.training.scoring import LabelledScores

log = logging.getLogger(__name__)

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


def query_losses(queries: Iterable[Sequence[LabelledScores]]) -> list[QueryLoss]:
    """Return the losses of the queries that have an answer."""
    return [loss for passages in queries if (loss := query_loss(passages)) is not None]


def expected_loss(queries: Iterable[Sequence[LabelledScores]], threshold: float) -> float:
    """Return the mean share of answering units below a threshold, over queries with an answer; nan without one."""
    lost = [loss.steps[loss.scores < threshold].sum() for loss in query_losses(queries)]
    return float(np.mean(lost)) if lost else float("nan")


def _lost(losses: Sequence[QueryLoss], thresholds: FloatArray) -> FloatArray:
    """Return float64[thresholds], the sum of the losses at each threshold: a unit with a lower score is lost."""
    scores = np.concatenate([loss.scores for loss in losses])
    order = np.argsort(scores)
    summed = np.cumsum(np.concatenate([loss.steps for loss in losses])[order])
    found: FloatArray = np.append(0.0, summed)[np.searchsorted(scores[order], thresholds)]
    return found


def _domain_bounds(means: FloatArray) -> FloatArray:
    """Return upper confidence bounds float64[thresholds] of the mean loss over domains like the sources.

    The t bound assumes that the sources' mean losses float64[sources, thresholds] are normally distributed. Bates et
    al. bound losses in [0, 1] without this assumption, but a dozen sources are too few for that.
    """
    from scipy.stats import t

    error = means.std(axis=0, ddof=1) / len(means) ** 0.5
    bounds: FloatArray = means.mean(axis=0) + t.ppf(1 - DELTA, len(means) - 1) * error
    return bounds


def choose_levels(
    sources: Sequence[Sequence[QueryLoss]], alphas: Iterable[float], *, balance: bool, domains: bool
) -> list[Level]:
    """Return the highest threshold whose expected loss is at most alpha, for each alpha that the data is enough for.

    Args:
        sources: Losses of the queries of each source.
        alphas: Largest shares of answering units that may be lost, in (0, 1).
        balance: Whether sources count the same, whatever their sizes.
        domains: Whether the sources are a sample of domains.
    """
    sizes = np.array([len(losses) for losses in sources])
    weights = sizes.mean() / sizes if balance else np.ones(len(sizes))  # of a query of each source
    thresholds = np.unique(np.concatenate([loss.scores for losses in sources for loss in losses]))
    lost = np.array([_lost(losses, thresholds) for losses in sources])
    extra = weights.max()  # the next query may be of the heaviest source and lose everything
    bounds = (weights @ lost + extra) / (weights @ sizes + extra)
    if domains:
        # The spread of sources may shrink as losses grow: a threshold is safe only if all lower ones are.
        bounds = np.maximum.accumulate(np.maximum(bounds, _domain_bounds(lost / sizes[:, np.newaxis])))
    levels = []
    for alpha in sorted(alphas, reverse=True):
        best = int(np.searchsorted(bounds, alpha, side="right")) - 1
        if best < 0:
            log.warning("calibration: too few queries to promise a loss of %g; the lowest is %.3f", alpha, bounds[0])
            continue
        # Rounded down, so that the number in the file loses no more than the exact one.
        threshold = max(0.0, float(np.floor(thresholds[best] * 1e6) / 1e6))
        loss = float(weights @ lost[:, best] / (weights @ sizes))
        recall, bound = round(1 - alpha, 6), float(bounds[best])
        levels.append(Level(target_recall=recall, threshold=threshold, bound=bound, loss=loss))
    return levels
