"""Calibration: the keep threshold that a promised recall needs, by conformal risk control.

Method: Angelopoulos et al., Conformal Risk Control (ICLR 2024), with the weights of Tibshirani et al., Conformal
Prediction Under Covariate Shift (2019), where sources of different size are to count the same. The loss of a query is
the share of its answering units that score below the threshold, averaged over its relevant passages. It grows with the
threshold, and the highest threshold whose weighted mean, with one more query of loss 1 added, is at most alpha keeps
the expected loss of a query like the calibration's at most alpha.

The queries to come may be of another domain than all that was calibrated on. Where there are several sources, these are
taken as a sample of domains, and an upper confidence bound of the mean loss over domains has to be at most alpha too
(Bates et al., Risk-controlling Prediction Sets, JACM 2021; here by Student's t over the sources' mean losses).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.labelled.examples import Example
from secateur.labelled.sources import labelled_sources
from secateur.labelled.text_files import parse_json, read_text
from secateur.models.checkpoint import CALIBRATION, read_calibration, resolve
from secateur.models.errors import DataError, ModelError
from secateur.models.files import write_atomically
from secateur.models.pruner import Pruner
from secateur.models.sums import write_sums
from secateur.training.scoring import ScoredPassage, score_examples

log = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]

ALPHAS = (0.20, 0.10, 0.05, 0.02, 0.01)
MIN_QUERIES = 50
# Sources from which on they are taken as a sample of domains. With fewer the bound tells more of how few they are than
# of how they differ: at two it lies more than twice their standard deviation above their mean.
MIN_DOMAINS = 5
DELTA = 0.01  # probability that the mean loss over domains exceeds its bound
_CRC = "conformal risk control"
_OVER_SOURCES = f", and a Student t bound of the mean loss over sources with confidence {1 - DELTA:g}"
_QUANTILES = np.linspace(0, 1, 101)
_SHIFT_DISTANCE = 0.1
_SHIFT_P = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """A promise.

    Attributes:
        target_recall: 1 - alpha.
        threshold: units with at least this score are kept.
        bound: of the expected loss at it, the larger one where two were asked for; at most alpha.
        loss: mean loss on the calibration data.
    """

    target_recall: float
    threshold: float
    bound: float
    loss: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `calibration.json` holds.

    Attributes:
        levels: by rising recall.
        queries: that have an answer, by source.
        score_quantiles: of the best unit score of each passage, at 0, 1, ... 100 percent.
        passages: that these are of.
        backend: that scored.
        domains: whether sources were taken as a sample of domains.
        titles: whether passages were scored under their titles.
    """

    levels: tuple[Level, ...]
    queries: dict[str, int]
    score_quantiles: tuple[float, ...]
    passages: int
    backend: str
    domains: bool = False
    titles: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {
            "method": _CRC + _OVER_SOURCES * self.domains,
            "levels": [
                {
                    "target_recall": level.target_recall,
                    "threshold": level.threshold,
                    "bound": round(level.bound, 5),
                    "loss": round(level.loss, 5),
                }
                for level in self.levels
            ],
            "queries": self.queries,
            "passages": self.passages,
            "score_quantiles": [round(value, 5) for value in self.score_quantiles],
            "backend": self.backend,
            "titles": self.titles,
        }


@dataclass(frozen=True, slots=True)
class _QueryLosses:
    """The losses of one query as a step function: at each of ``scores`` passed, ``steps`` is added."""

    scores: FloatArray
    steps: FloatArray


def query_losses(passages: Sequence[ScoredPassage]) -> _QueryLosses | None:
    """Return a query's loss as the threshold rises; None without a relevant passage that has an answering unit."""
    answering = [p.scores[p.gold] for p in passages if p.relevant and p.gold.any()]
    if not answering:
        return None
    steps = [np.full(len(scores), 1 / len(scores) / len(answering)) for scores in answering]
    return _QueryLosses(np.concatenate(answering), np.concatenate(steps))


def _domain_bounds(losses: Sequence[_QueryLosses], owners: Sequence[str], thresholds: FloatArray) -> FloatArray:
    """Return, at each threshold, an upper confidence bound of the mean loss over domains that are like the sources.

    The t bound holds as far as the sources' mean losses are spread like a normal distribution, and however much they
    are; Bates et al. bound losses in [0, 1] without that, which a dozen sources are too few for.

    Args:
        losses: of each query.
        owners: the source of each.
        thresholds: float64[thresholds].
    """
    from scipy.stats import t

    means = []
    for name in dict.fromkeys(owners):
        own = [one for one, owner in zip(losses, owners, strict=True) if owner == name]
        scores = np.concatenate([one.scores for one in own])
        steps = np.concatenate([one.steps for one in own]) / len(own)
        order = np.argsort(scores)
        lost = np.concatenate([[0.0], np.cumsum(steps[order])])
        means.append(lost[np.searchsorted(scores[order], thresholds, side="left")])
    by_source = np.array(means)
    error = by_source.std(axis=0, ddof=1) / len(means) ** 0.5
    bounds: FloatArray = by_source.mean(axis=0) + t.ppf(1 - DELTA, len(means) - 1) * error
    return bounds


def highest_threshold(
    losses: Sequence[_QueryLosses], weights: FloatArray, alpha: float, domains: Sequence[str] | None = None
) -> tuple[float, float, float]:
    """Return the highest threshold whose expected loss is at most alpha, with its bound and its mean loss.

    Args:
        losses: of each query.
        weights: float64[queries], how much more often a query like this one comes up in use than here.
        domains: of each query; None where they are not to be taken as a sample of those to come.
        alpha: share of answering units that may be lost, in (0, 1).

    Raises:
        DataError: there are too few queries for so small an alpha.
    """
    total = float(weights.sum())
    extra = float(weights.max())  # the query to come may be of the source that weighs most, and lose everything
    scores = np.concatenate([one.scores for one in losses])
    steps = np.concatenate([one.steps * weight for one, weight in zip(losses, weights, strict=True)])
    order = np.argsort(scores)
    scores, risen = scores[order], np.cumsum(steps[order])
    # A threshold at scores[i] loses the units below it, all with a lower score.
    values, first = np.unique(scores, return_index=True)
    lost = np.concatenate([[0.0], risen])[first]
    bounds = (lost + extra) / (total + extra)
    if domains is not None:
        # The spread of sources may shrink as losses grow; a threshold is safe if all below it are.
        bounds = np.maximum.accumulate(np.maximum(bounds, _domain_bounds(losses, domains, values)))
    if bounds[0] > alpha:
        raise DataError(
            f"calibration: a loss of at most {alpha:g} cannot be promised with so few queries; the least that can is "
            f"{bounds[0]:.3f}"
        )
    best = int(np.searchsorted(bounds, alpha, side="right")) - 1
    # Rounded down, so that the file's number promises no more than the exact one.
    threshold = max(0.0, float(np.floor(values[best] * 1e6) / 1e6))
    return threshold, float(bounds[best]), float(lost[best] / total)


def expected_loss(queries: Iterable[Sequence[ScoredPassage]], threshold: float) -> float:
    """Return the mean share of answering units that a threshold loses, over queries with an answer; nan without one."""
    losses = [one for passages in queries if (one := query_losses(passages)) is not None]
    return float(np.mean([one.steps[one.scores < threshold].sum() for one in losses])) if losses else float("nan")


def source_weights(sizes: Mapping[str, int], *, balance: bool) -> dict[str, float]:
    """Return how much a query of each source counts: the same, or, balanced, so that sources count the same."""
    mean = sum(sizes.values()) / len(sizes)
    return {name: mean / size if balance else 1.0 for name, size in sizes.items()}


def calibrate_scores(
    scored: Mapping[str, Sequence[Sequence[ScoredPassage]]],
    *,
    alphas: Sequence[float] = ALPHAS,
    balance: bool = True,
    backend: str = "",
    titles: bool = True,
) -> Calibration:
    """Choose thresholds from scored examples.

    Args:
        scored: by source, the passages of each query.
        alphas: losses to promise; those that the data is too small for are left out.
        balance: sources count the same, whatever their sizes; five and more are taken as a sample of domains.
        backend: that scored.
        titles: whether it did so under the passages' titles.

    Raises:
        DataError: fewer than `MIN_QUERIES` queries have an answer, or no alpha can be promised.
    """
    losses: list[_QueryLosses] = []
    owners: list[str] = []
    for name, queries in scored.items():
        found = [one for passages in queries if (one := query_losses(passages)) is not None]
        losses += found
        owners += [name] * len(found)
    if len(losses) < MIN_QUERIES:
        raise DataError(
            f"calibration: {len(losses)} queries have an answer; give at least {MIN_QUERIES} labelled ones (a few "
            "hundred for a promise of 0.98)"
        )
    sizes = {name: owners.count(name) for name in dict.fromkeys(owners)}
    by_source = source_weights(sizes, balance=balance)
    weights = np.array([by_source[name] for name in owners])
    domains = owners if balance and len(sizes) >= MIN_DOMAINS else None
    levels = []
    for alpha in sorted(alphas, reverse=True):
        try:
            threshold, bound, loss = highest_threshold(losses, weights, alpha, domains)
        except DataError as error:
            log.warning("%s", error)
            continue
        levels.append(Level(round(1 - alpha, 6), threshold, bound, loss))
    if not levels:
        raise DataError(f"calibration: {len(losses)} queries are too few for any of the losses {list(alphas)}")
    best = best_scores(passages for queries in scored.values() for passages in queries)
    quantiles = tuple(np.quantile(best, _QUANTILES).tolist())
    return Calibration(tuple(levels), sizes, quantiles, len(best), backend, domains is not None, titles)


def best_scores(queries: Iterable[Sequence[ScoredPassage]]) -> FloatArray:
    """Return float64[passages], the highest unit score of each."""
    return np.array([p.scores.max() for passages in queries for p in passages], dtype=np.float64)


def usable_examples(path: Path) -> dict[str, list[Example]]:
    """Read labelled examples by source, without those that have no query or no passage.

    Raises:
        DataError: there are none.
    """
    sources = {}
    for source in labelled_sources(path):
        examples = [e for e in source.read() if e.query.strip() and e.passages]
        if examples:
            sources[source.name] = examples
    if not sources:
        raise DataError(f"{path}: no example with a query and passages")
    return sources


def calibrate(
    model: str | Path | None,
    data: Path,
    *,
    out: Path | None = None,
    alphas: Sequence[float] = ALPHAS,
    balance: bool = True,
    titles: bool = True,
    backend: str = "auto",
    precision: str = "auto",
) -> Calibration:
    """Calibrate a model on labelled examples that it was not trained on, and write its `calibration.json` with its sum.

    Args:
        model: model directory or shipped model's name.
        data: labelled examples, a file a source.
        out: file to write; None for the model's own.
        alphas: losses to promise.
        balance: sources count the same, whatever their sizes.
        titles: show the passages' titles to the model.
        backend: see `Pruner.load`; the one that will serve.
        precision: see `Pruner.load`.

    Raises:
        DataError: the data cannot be used.
        ModelError: the model cannot be loaded, or its directory not be written to.
    """
    pruner = Pruner.load(model, backend=backend, precision=precision)
    scored = {}
    for name, examples in usable_examples(data).items():
        scored[name] = list(score_examples(pruner, examples, titles=titles))
        log.info("%s: %d queries scored", name, len(examples))
    used = f"{pruner.backend.name} {pruner.backend.precision}"
    calibration = calibrate_scores(scored, alphas=alphas, balance=balance, backend=used, titles=titles)
    directory = resolve(model)
    target = out or directory / CALIBRATION
    write_atomically(target, json.dumps(calibration.as_json(), indent=1) + "\n")
    if target.resolve() == (directory / CALIBRATION).resolve():
        write_sums(directory, changed=[CALIBRATION])
    return calibration


def held_out_losses(model: str | Path | None, data: Path) -> dict[str, dict[float, float]]:
    """Return what a calibrated model's thresholds lose of labelled examples, by source and promised recall.

    Passages are scored under their titles, as a service does, unless the model was calibrated without. There are none
    of a model that is not calibrated.

    Raises:
        DataError: the data cannot be used.
        ModelError: the model cannot be loaded.
    """
    directory = resolve(model)
    thresholds = read_calibration(directory)
    if thresholds is None:
        return {}
    titles = parse_json(read_text(directory / CALIBRATION)).get("titles", True)
    pruner = Pruner.load(model)
    found = {}
    for name, examples in usable_examples(data).items():
        # A query's loss is of its relevant passages, so no others are scored.
        answered = [replace(e, passages=tuple(p for p in e.passages if p.relevant)) for e in examples]
        scored = list(score_examples(pruner, [e for e in answered if e.passages], titles=titles))
        losses = {recall: expected_loss(scored, threshold) for recall, threshold in thresholds.items()}
        if not any(math.isnan(loss) for loss in losses.values()):
            found[name] = losses
    return found


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a sample's scores lie from those that a model was calibrated on.

    Attributes:
        distance: greatest difference of the two distribution functions (Kolmogorov and Smirnov), in [0, 1].
        p: probability of such a distance by chance.
        passages: of the sample.
    """

    distance: float
    p: float
    passages: int

    @property
    def significant(self) -> bool:
        """Whether the difference is both large enough to matter and no chance."""
        return self.distance > _SHIFT_DISTANCE and self.p < _SHIFT_P

    @property
    def verdict(self) -> str:
        """One line for a person."""
        measured = f"distance {self.distance:.2f}, p {self.p:.2g}, {self.passages} passages"
        if self.significant:
            return f"the sample's scores differ from the calibration's ({measured}): recalibrate on data like it"
        return f"no shift found ({measured})"


def score_shift(quantiles: Sequence[float], passages: int, scores: FloatArray) -> Shift:
    """Compare a sample's best scores a passage with the calibration's.

    Args:
        quantiles: `Calibration.score_quantiles`.
        passages: that these are of.
        scores: float64[passages of the sample], see `best_scores`.
    """
    from scipy.stats import ks_2samp

    reference = np.interp(np.linspace(0, 1, passages), np.linspace(0, 1, len(quantiles)), quantiles)
    found = ks_2samp(scores, reference, method="asymp")
    return Shift(float(found.statistic), float(found.pvalue), len(scores))


def check_shift(model: str | Path | None, data: Path, *, backend: str = "auto", precision: str = "auto") -> Shift:
    """Compare the scores of a sample, labelled or not, with those that a model was calibrated on.

    Args:
        model: model directory or shipped model's name.
        data: the sample; its passages are scored under their titles if the calibration's were.
        backend: see `Pruner.load`.
        precision: see `Pruner.load`.

    Raises:
        ModelError: the model has no `calibration.json`, or one that does not tell its scores.
        DataError: the sample has fewer than 20 passages.
    """
    path = resolve(model) / CALIBRATION
    try:
        content = parse_json(read_text(path))
        quantiles, passages, titles = content["score_quantiles"], int(content["passages"]), bool(content["titles"])
    except (DataError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: tells no scores ({error!r}); run `secateur calibrate` first") from error
    pruner = Pruner.load(model, backend=backend, precision=precision)
    sources = usable_examples(data).values()
    queries = [found for examples in sources for found in score_examples(pruner, examples, titles=titles)]
    scores = best_scores(queries)
    if len(scores) < 20:
        raise DataError(f"{data}: {len(scores)} passages tell little of a distribution; give at least 20")
    return score_shift(quantiles, passages, scores)
