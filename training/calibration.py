"""Calibration: thresholds for target recalls, measured on labelled examples, and the check for a shift of the data.

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
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from secateur.models.calibration import Calibration, Level
from secateur.models.checkpoint import CALIBRATION, resolve
from secateur.models.errors import DataError, ModelError
from secateur.models.pruner import Pruner
from secateur.models.sums import write_sums
from secateur.training.config import DataConfig
from secateur.training.sampling import read_sources
from secateur.training.scoring import LabelledScores, score_examples

log = logging.getLogger(__name__)

ALPHAS = (0.20, 0.10, 0.05, 0.02, 0.01)
MIN_QUERIES = 50
MIN_DOMAINS = 5  # fewest sources that are a sample of domains: with fewer, the bound reflects how few they are
_MIN_PASSAGES = 20  # of a sample that is checked for a shift
_DELTA = 0.01  # probability that the mean loss over domains exceeds its bound
_METHOD = "conformal risk control"
_OVER_SOURCES = f", and a Student t bound of the mean loss over sources with confidence {1 - _DELTA:g}"
_QUANTILES = np.linspace(0, 1, 101)
_SHIFT_DISTANCE = 0.1
_SHIFT_P = 0.01

FloatArray = NDArray[np.float64]

Scored = Mapping[str, Sequence[Sequence[LabelledScores]]]
"""The scores of each query's passages, by source."""

SourceLosses = Mapping[str, Mapping[float, float]]
"""Shares of answering units that are lost, by source and target recall."""


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


def _query_losses(queries: Iterable[Sequence[LabelledScores]]) -> list[QueryLoss]:
    return [loss for passages in queries if (loss := query_loss(passages)) is not None]


def expected_loss(queries: Iterable[Sequence[LabelledScores]], threshold: float) -> float:
    """Return the mean share of answering units below a threshold, over queries with an answer; nan without one."""
    lost = [loss.steps[loss.scores < threshold].sum() for loss in _query_losses(queries)]
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
    bounds: FloatArray = means.mean(axis=0) + t.ppf(1 - _DELTA, len(means) - 1) * error
    return bounds


def _choose_levels(
    sources: Sequence[Sequence[QueryLoss]], alphas: Iterable[float], *, balance: bool, domains: bool
) -> list[Level]:
    """Return the highest threshold whose expected loss is at most alpha, for each alpha that the data is enough for.

    With ``balance`` the ``sources`` count the same, whatever their sizes; with ``domains`` they are a sample of such.
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


def calibrate_scores(scored: Scored, *, alphas: Sequence[float] = ALPHAS, balance: bool = True) -> Calibration:
    """Choose thresholds from scored examples.

    Args:
        scored: The scores.
        alphas: Losses to promise; those that the data is too small for are left out.
        balance: Whether sources count the same, whatever their sizes; five or more are a sample of domains.

    Raises:
        DataError: Fewer than `MIN_QUERIES` queries have an answer, or no loss can be promised.
    """
    losses = {name: found for name, queries in scored.items() if (found := _query_losses(queries))}
    sizes = {name: len(found) for name, found in losses.items()}
    answered = sum(sizes.values())
    if answered < MIN_QUERIES:
        fix = f"give at least {MIN_QUERIES} labelled ones (a few hundred for a target recall of 0.98)"
        raise DataError(f"calibration: {answered} queries have an answer; {fix}")
    domains = balance and len(sizes) >= MIN_DOMAINS
    levels = _choose_levels(list(losses.values()), alphas, balance=balance, domains=domains)
    if not levels:
        raise DataError(f"calibration: {answered} queries are too few for any of the losses {list(alphas)}")
    best = best_scores(passages for queries in scored.values() for passages in queries)
    return Calibration(
        method=_METHOD + _OVER_SOURCES * domains,
        levels=tuple(levels),
        queries=sizes,
        passages=len(best),
        score_quantiles=tuple(np.quantile(best, _QUANTILES).tolist()),
    )


def best_scores(queries: Iterable[Sequence[LabelledScores]]) -> FloatArray:
    """Return float64[passages], the highest unit score of each passage."""
    return np.array([p.scores.max() for passages in queries for p in passages], dtype=np.float64)


def _score(pruner: Pruner, data: Path, titles: bool, *, relevant_only: bool = False) -> Scored:
    scored = {}
    for name, examples in read_sources(DataConfig(train=data)).items():
        if relevant_only:
            examples = [replace(e, passages=tuple(p for p in e.passages if p.relevant)) for e in examples]
        scored[name] = list(score_examples(pruner, examples, titles=titles))
        log.info("%s: %d queries scored", name, len(examples))
    return scored


def calibrate(
    model: str | Path | None,
    data: Path,
    *,
    out: Path | None = None,
    balance: bool = True,
    titles: bool = True,
    backend: str = "auto",
    precision: str = "auto",
) -> Calibration:
    """Calibrate a model on labelled examples that it was not trained on, and write `calibration.json` and its sum.

    Args:
        model: Model directory or name of a shipped model.
        data: Labelled examples, one file per source.
        out: File to write; None for the model's own.
        balance: Whether sources count the same, whatever their sizes.
        titles: Whether the model reads the passages' titles.
        backend: Backend that will serve the model, see `Pruner.load`.
        precision: Precision of the ONNX file, see `Pruner.load`.

    Raises:
        DataError: The data cannot be used, or the file cannot be written.
        ModelError: The model cannot be loaded.
    """
    pruner = Pruner.load(model, backend=backend, precision=precision)
    used = {"backend": f"{pruner.backend.name} {pruner.backend.precision}", "titles": titles}
    calibration = calibrate_scores(_score(pruner, data, titles), balance=balance).model_copy(update=used)
    directory = resolve(model)
    target = out or directory / CALIBRATION
    calibration.write(target)
    if target.resolve() == (directory / CALIBRATION).resolve():
        write_sums(directory, changed=[CALIBRATION])
    return calibration


def held_out_losses(model: str | Path | None, data: Path) -> SourceLosses:
    """Return the share of answering units that a model loses at its calibrated thresholds, if it has any.

    The model reads the passages' titles, as in a service, unless it was calibrated without.

    Raises:
        DataError: The data cannot be used.
        ModelError: The model cannot be loaded.
    """
    calibration = Calibration.read(resolve(model))
    if calibration is None:
        return {}
    thresholds = calibration.thresholds
    scored = _score(Pruner.load(model), data, calibration.titles, relevant_only=True)  # no others count
    losses = {
        name: {recall: expected_loss(queries, threshold) for recall, threshold in thresholds.items()}
        for name, queries in scored.items()
    }
    return {name: found for name, found in losses.items() if not any(map(math.isnan, found.values()))}


def mean_losses(losses: SourceLosses) -> dict[float, float]:
    """Return the mean over sources, by target recall."""
    recalls = next(iter(losses.values()), {})
    return {recall: fmean(found[recall] for found in losses.values()) for recall in recalls}


@dataclass(frozen=True, slots=True)
class Shift:
    """The difference between the scores of a sample's passages and those of the calibration data.

    Attributes:
        distance: Largest difference of the distribution functions (Kolmogorov-Smirnov), in [0, 1].
        p: Probability of such a distance by chance.
    """

    distance: float
    p: float
    passages: int

    @property
    def significant(self) -> bool:
        """Whether the difference is large enough to matter and unlikely to be chance."""
        return self.distance > _SHIFT_DISTANCE and self.p < _SHIFT_P

    @property
    def verdict(self) -> str:
        """The result in one line."""
        measured = f"distance {self.distance:.2f}, p {self.p:.2g}, {self.passages} passages"
        if self.significant:
            return f"the sample's scores differ from the calibration's ({measured}): recalibrate on data like it"
        return f"no shift found ({measured})"


def score_shift(quantiles: Sequence[float], passages: int, scores: FloatArray) -> Shift:
    """Compare the `best_scores` of a sample with ``score_quantiles`` and ``passages`` of a `Calibration`."""
    from scipy.stats import ks_2samp

    reference = np.interp(np.linspace(0, 1, passages), np.linspace(0, 1, len(quantiles)), quantiles)
    found = ks_2samp(scores, reference, method="asymp")
    return Shift(float(found.statistic), float(found.pvalue), len(scores))


def check_shift(model: str | Path | None, data: Path, *, backend: str = "auto", precision: str = "auto") -> Shift:
    """Compare the scores of a sample, labelled or not, with those that a model was calibrated on.

    Raises:
        ModelError: The model has no scores in `calibration.json`.
        DataError: The sample has fewer than 20 passages.
    """
    directory = resolve(model)
    calibration = Calibration.read(directory)
    if calibration is None or not calibration.score_quantiles:
        raise ModelError(f"{directory / CALIBRATION}: contains no scores; run `secateur calibrate` first")
    pruner = Pruner.load(model, backend=backend, precision=precision)
    sources = _score(pruner, data, calibration.titles).values()
    scores = best_scores(passages for queries in sources for passages in queries)
    if len(scores) < _MIN_PASSAGES:
        raise DataError(f"{data}: {len(scores)} passages are too few to compare; give at least {_MIN_PASSAGES}")
    return score_shift(calibration.score_quantiles, calibration.passages, scores)
