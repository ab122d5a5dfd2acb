"""Calibration: thresholds for target recalls, measured on labelled examples, and the check for a shift of the data."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from secateur.models.calibration import Calibration
from secateur.models.checkpoint import CALIBRATION, resolve
from secateur.models.errors import DataError, ModelError
from secateur.models.pruner import Pruner
from secateur.models.sums import write_sums
from secateur.training.config import DataConfig
from secateur.training.conformal import DELTA, FloatArray, choose_levels, expected_loss, query_losses
from secateur.training.sampling import read_sources
from secateur.training.scoring import LabelledScores, score_examples

log = logging.getLogger(__name__)

ALPHAS = (0.20, 0.10, 0.05, 0.02, 0.01)
MIN_QUERIES = 50
# Fewest sources that are treated as a sample of domains. With fewer, the bound mostly reflects how few they are: with
# two it is more than twice their standard deviation above their mean.
MIN_DOMAINS = 5
_MIN_PASSAGES = 20  # of a sample that is checked for a shift
_METHOD = "conformal risk control"
_OVER_SOURCES = f", and a Student t bound of the mean loss over sources with confidence {1 - DELTA:g}"
_QUANTILES = np.linspace(0, 1, 101)
_SHIFT_DISTANCE = 0.1
_SHIFT_P = 0.01

Scored = Mapping[str, Sequence[Sequence[LabelledScores]]]
"""The scores of each query's passages, by source."""

SourceLosses = Mapping[str, Mapping[float, float]]
"""Shares of answering units that are lost, by source and target recall."""


def calibrate_scores(scored: Scored, *, alphas: Sequence[float] = ALPHAS, balance: bool = True) -> Calibration:
    """Choose thresholds from scored examples.

    Args:
        scored: The scores.
        alphas: Losses to promise; those that the data is too small for are left out.
        balance: Whether sources count the same, whatever their sizes; five or more are a sample of domains.

    Raises:
        DataError: fewer than `MIN_QUERIES` queries have an answer, or no loss can be promised.
    """
    losses = {name: found for name, queries in scored.items() if (found := query_losses(queries))}
    sizes = {name: len(found) for name, found in losses.items()}
    answered = sum(sizes.values())
    if answered < MIN_QUERIES:
        raise DataError(
            f"calibration: {answered} queries have an answer; give at least {MIN_QUERIES} labelled ones (a few hundred "
            "for a target recall of 0.98)"
        )
    domains = balance and len(sizes) >= MIN_DOMAINS
    levels = choose_levels(list(losses.values()), alphas, balance=balance, domains=domains)
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
        DataError: the data cannot be used.
        ModelError: the model cannot be loaded, or its directory cannot be written to.
    """
    pruner = Pruner.load(model, backend=backend, precision=precision)
    used = f"{pruner.backend.name} {pruner.backend.precision}"
    found = calibrate_scores(_score(pruner, data, titles), balance=balance)
    calibration = found.model_copy(update={"backend": used, "titles": titles})
    directory = resolve(model)
    target = out or directory / CALIBRATION
    calibration.write(target)
    if target.resolve() == (directory / CALIBRATION).resolve():
        write_sums(directory, changed=[CALIBRATION])
    return calibration


def held_out_losses(model: str | Path | None, data: Path) -> SourceLosses:
    """Return the share of answering units that a calibrated model loses, by source and target recall.

    The model reads the passages' titles, as in a service, unless it was calibrated without. A model that is not
    calibrated has no losses.

    Raises:
        DataError: the data cannot be used.
        ModelError: the model cannot be loaded.
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
    by_recall: dict[float, list[float]] = {}
    for found in losses.values():
        for recall, loss in found.items():
            by_recall.setdefault(recall, []).append(loss)
    return {recall: sum(values) / len(values) for recall, values in by_recall.items()}


@dataclass(frozen=True, slots=True)
class Shift:
    """The difference between a sample's scores and those of the calibration data.

    Attributes:
        distance: Largest difference of the distribution functions (Kolmogorov-Smirnov), in [0, 1].
        p: Probability of such a distance by chance.
        passages: Number of passages in the sample.
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
        ModelError: the model has no `calibration.json`, or one without scores.
        DataError: the sample has fewer than 20 passages.
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
