"""Calibration: thresholds for target recalls, measured on labelled examples, and the check for a shift of the data."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from secateur.models.calibration import Calibration, Level
from secateur.models.checkpoint import CALIBRATION, resolve
from secateur.models.errors import DataError, ModelError
from secateur.models.pruner import Pruner
from secateur.models.sums import write_sums
from secateur.training.config import DataConfig
from secateur.training.conformal import (
    DELTA,
    FloatArray,
    QueryLoss,
    expected_loss,
    highest_threshold,
    query_loss,
    source_weights,
)
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


def calibrate_scores(
    scored: Mapping[str, Sequence[Sequence[LabelledScores]]],
    *,
    alphas: Sequence[float] = ALPHAS,
    balance: bool = True,
    backend: str = "",
    titles: bool = True,
) -> Calibration:
    """Choose thresholds from scored examples.

    Args:
        scored: The passages of each query, by source.
        alphas: Losses to promise; those that the data is too small for are left out.
        balance: Whether sources count the same, whatever their sizes; five or more are a sample of domains.
        backend: Backend that scored.
        titles: Whether the model read the passages' titles.

    Raises:
        DataError: fewer than `MIN_QUERIES` queries have an answer, or no loss can be promised.
    """
    losses: list[QueryLoss] = []
    sources: list[str] = []
    for name, queries in scored.items():
        found = [loss for passages in queries if (loss := query_loss(passages)) is not None]
        losses += found
        sources += [name] * len(found)
    if len(losses) < MIN_QUERIES:
        raise DataError(
            f"calibration: {len(losses)} queries have an answer; give at least {MIN_QUERIES} labelled ones (a few "
            "hundred for a target recall of 0.98)"
        )
    sizes = {name: sources.count(name) for name in dict.fromkeys(sources)}
    by_source = source_weights(sizes, balance=balance)
    weights = np.array([by_source[name] for name in sources])
    domains = sources if balance and len(sizes) >= MIN_DOMAINS else None
    levels = []
    for alpha in sorted(alphas, reverse=True):
        try:
            threshold, bound, mean_loss = highest_threshold(losses, weights, alpha, domains)
        except DataError as error:
            log.warning("%s", error)
            continue
        levels.append(Level(target_recall=round(1 - alpha, 6), threshold=threshold, bound=bound, loss=mean_loss))
    if not levels:
        raise DataError(f"calibration: {len(losses)} queries are too few for any of the losses {list(alphas)}")
    best = best_scores(passages for queries in scored.values() for passages in queries)
    return Calibration(
        method=_METHOD if domains is None else _METHOD + _OVER_SOURCES,
        levels=tuple(levels),
        queries=sizes,
        passages=len(best),
        score_quantiles=tuple(np.quantile(best, _QUANTILES).tolist()),
        backend=backend,
        titles=titles,
    )


def best_scores(queries: Iterable[Sequence[LabelledScores]]) -> FloatArray:
    """Return float64[passages], the highest unit score of each passage."""
    return np.array([p.scores.max() for passages in queries for p in passages], dtype=np.float64)


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
    """Calibrate a model on labelled examples that it was not trained on, and write `calibration.json` and its sum.

    Args:
        model: Model directory or name of a shipped model.
        data: Labelled examples, one file per source.
        out: File to write; None for the model's own.
        alphas: Losses to promise.
        balance: Whether sources count the same, whatever their sizes.
        titles: Whether the model reads the passages' titles.
        backend: Backend that will serve the model, see `Pruner.load`.
        precision: Precision of the ONNX file, see `Pruner.load`.

    Raises:
        DataError: the data cannot be used.
        ModelError: the model cannot be loaded, or its directory cannot be written to.
    """
    pruner = Pruner.load(model, backend=backend, precision=precision)
    scored = {}
    for name, examples in read_sources(DataConfig(train=data)).items():
        scored[name] = list(score_examples(pruner, examples, titles=titles))
        log.info("%s: %d queries scored", name, len(examples))
    used = f"{pruner.backend.name} {pruner.backend.precision}"
    calibration = calibrate_scores(scored, alphas=alphas, balance=balance, backend=used, titles=titles)
    directory = resolve(model)
    target = out or directory / CALIBRATION
    calibration.write(target)
    if target.resolve() == (directory / CALIBRATION).resolve():
        write_sums(directory, changed=[CALIBRATION])
    return calibration


def held_out_losses(model: str | Path | None, data: Path) -> dict[str, dict[float, float]]:
    """Return the share of answering units that a calibrated model loses, by source and target recall.

    The model reads the passages' titles, as in a service, unless it was calibrated without. A model that is not
    calibrated has no losses.

    Args:
        model: Model directory or name of a shipped model.
        data: Labelled examples.

    Raises:
        DataError: the data cannot be used.
        ModelError: the model cannot be loaded.
    """
    calibration = Calibration.read(resolve(model))
    if calibration is None:
        return {}
    pruner = Pruner.load(model)
    found = {}
    for name, examples in read_sources(DataConfig(train=data)).items():
        # Only relevant passages count, so no others are scored.
        answered = [replace(e, passages=tuple(p for p in e.passages if p.relevant)) for e in examples]
        answered = [e for e in answered if e.passages]
        scored = list(score_examples(pruner, answered, titles=calibration.titles))
        losses = {recall: expected_loss(scored, threshold) for recall, threshold in calibration.thresholds.items()}
        if not any(math.isnan(loss) for loss in losses.values()):
            found[name] = losses
    return found


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
    """Compare a sample's highest unit scores with the calibration's.

    Args:
        quantiles: `Calibration.score_quantiles`.
        passages: `Calibration.passages`.
        scores: float64[passages of the sample], see `best_scores`.
    """
    from scipy.stats import ks_2samp

    reference = np.interp(np.linspace(0, 1, passages), np.linspace(0, 1, len(quantiles)), quantiles)
    found = ks_2samp(scores, reference, method="asymp")
    return Shift(float(found.statistic), float(found.pvalue), len(scores))


def check_shift(model: str | Path | None, data: Path, *, backend: str = "auto", precision: str = "auto") -> Shift:
    """Compare the scores of a sample, labelled or not, with those that a model was calibrated on.

    Args:
        model: Model directory or name of a shipped model.
        data: The sample; the model reads its titles if it read the calibration's.
        backend: Backend, see `Pruner.load`.
        precision: Precision of the ONNX file, see `Pruner.load`.

    Raises:
        ModelError: the model has no `calibration.json`, or one without scores.
        DataError: the sample has fewer than 20 passages.
    """
    directory = resolve(model)
    calibration = Calibration.read(directory)
    if calibration is None or not calibration.score_quantiles:
        raise ModelError(f"{directory / CALIBRATION}: contains no scores; run `secateur calibrate` first")
    pruner = Pruner.load(model, backend=backend, precision=precision)
    sources = read_sources(DataConfig(train=data)).values()
    queries = [scores for examples in sources for scores in score_examples(pruner, examples, titles=calibration.titles)]
    scores = best_scores(queries)
    if len(scores) < _MIN_PASSAGES:
        raise DataError(f"{data}: {len(scores)} passages are too few to compare; give at least {_MIN_PASSAGES}")
    return score_shift(calibration.score_quantiles, calibration.passages, scores)
