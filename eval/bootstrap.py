"""Bootstrap over queries: every figure is computed for the sample and for all resamples of its queries at once.

Weights are float64[1 + resamples, queries]. Row 0 is all ones: the sample itself. Every other row counts how often each
query was drawn (Efron 1979). A figure is an array with one value per row. Two systems measured with the same weights
are compared by the paired bootstrap (Koehn 2004): the interval is that of the difference of their figures.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

RESAMPLES = 1000
_LEVEL = 0.95


def query_weights(name: str, queries: int, resamples: int = RESAMPLES) -> FloatArray:
    """Return float64[1 + resamples, queries], a function of the source's name and its number of queries alone."""
    rng = np.random.default_rng(zlib.crc32(name.encode("utf-8")))
    drawn = rng.multinomial(queries, np.full(queries, 1 / max(queries, 1)), size=resamples)
    return np.vstack([np.ones((1, queries)), drawn])


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide; the result is NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def weighted_mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return float64[rows], the mean of values float64[queries] without those that are NaN."""
    known = ~np.isnan(values)
    return ratio(weights[:, known] @ values[known], weights[:, known].sum(1))


def value(figure: FloatArray) -> float | None:
    """Return the value for the sample itself; None when it is undefined."""
    return None if np.isnan(figure[0]) else float(figure[0])


def interval(figure: FloatArray) -> tuple[float, float] | None:
    """Return the 95% percentile interval of a figure; None when it is undefined."""
    resampled = figure[1:][~np.isnan(figure[1:])]
    if np.isnan(figure[0]) or len(resampled) == 0:
        return None
    low, high = np.quantile(resampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """One figure minus another on the same queries, where higher is better.

    The difference is that of the sample itself, ``low`` and ``high`` are the ends of its 95% interval, and ``p`` is the
    two-sided p value of no difference, at least 1 / resamples.
    """

    difference: float
    low: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def outcome(self) -> str:
        """``better``, ``worse`` or ``no significant change``."""
        outcome = "better" if self.difference > 0 else "worse"
        return outcome if self.significant else "no significant change"

    def as_json(self) -> dict[str, Any]:
        """Return the difference, its interval and p as a JSON object."""
        return {"difference": self.difference, "interval": [self.low, self.high], "p": self.p}


def paired_difference(a: FloatArray, b: FloatArray) -> PairedDifference | None:
    """Return a minus b for two figures computed with the same weights; None when one is undefined."""
    delta = a - b
    ends = interval(delta)
    if ends is None:
        return None
    resampled = delta[1:][~np.isnan(delta[1:])]
    tail = min(float((resampled <= 0).mean()), float((resampled >= 0).mean()))
    return PairedDifference(float(delta[0]), *ends, min(1.0, max(2 * tail, 1 / len(resampled))))
