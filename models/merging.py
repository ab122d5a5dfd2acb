"""Merging: token probabilities of windows become one score per unit and one per passage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.models.backends.base import Output
from secateur.models.batching import Batch
from secateur.models.encoding import EncodedPassage
from secateur.models.errors import RuntimeOutputError

_ROUNDING = 0.01  # a sigmoid in reduced precision may leave [0, 1] by a rounding error

SCORING_VERSION = 2
"""Version of segmentation, encoding and merging, as a part of cache keys. Raise it with every change of their results;
`tests/models/test_merging.py` fails until then."""


@dataclass(frozen=True, slots=True)
class WindowOutput:
    """A window's relevance, and its keep probabilities as float32[tokens], padding included."""

    relevance: float
    keep: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PassageScores:
    """Scores of a passage.

    Attributes:
        relevance: Maximum over its windows, in [0, 1]; 0 for a passage without a token.
        units: float64[units], mean keep probability over the tokens of each unit, in [0, 1]. A token in two windows
            counts twice.
    """

    relevance: float
    units: NDArray[np.float64]


def window_outputs(batches: Sequence[Batch], outputs: Sequence[Output], source: str) -> list[WindowOutput]:
    """Return the outputs of batched windows, in the order of the windows before batching.

    Raises:
        RuntimeOutputError: An output is not a valid score; the message names the model and backend, ``source``.
    """
    problem = f"{len(outputs)} outputs for {len(batches)} batches" if len(outputs) != len(batches) else ""
    problem = problem or next(filter(None, map(_problem, batches, outputs)), "")
    if problem:
        fix = "load the model with another precision or backend, or export it again"
        raise RuntimeOutputError(f"{source}: {problem}; {fix}")
    found: dict[int, WindowOutput] = {}
    for batch, output in zip(batches, outputs, strict=True):
        rows = zip(batch.rows.tolist(), output.relevance.tolist(), output.keep, strict=True)
        found.update({row: WindowOutput(relevance, keep) for row, relevance, keep in rows})
    return [found[row] for row in range(len(found))]


def _problem(batch: Batch, output: Output) -> str:
    shape = batch.input_ids.shape
    for name, values, expected in (("relevance", output.relevance, shape[:1]), ("keep", output.keep, shape)):
        if values.shape != expected:
            return f"`{name}` has shape {values.shape}, not {expected}"
    # Only values that become a score are checked: the output for padding is undefined.
    for name, values in (("relevance", output.relevance), ("keep", output.keep[batch.unit_ids >= 0])):
        wrong = ~((values >= -_ROUNDING) & (values <= 1 + _ROUNDING))  # NaN fails both comparisons
        if wrong.any():
            return f"`{name}` holds {values[wrong][0]}, which is not a probability"
    return ""


def merge(encoded: EncodedPassage, outputs: Sequence[WindowOutput]) -> PassageScores:
    """Merge the outputs of a passage's `running` windows, which may overlap."""
    units = len(encoded.unit_tokens)
    sums, counts = np.zeros(units), np.zeros(units)
    for window, output in zip(encoded.running, outputs, strict=True):
        text_tokens = output.keep[window.text_start : window.text_start + len(window.token_unit)]
        sums += np.bincount(window.token_unit, weights=text_tokens, minlength=units)
        counts += np.bincount(window.token_unit, minlength=units)
    means = sums / np.maximum(counts, 1)
    scores = np.where(encoded.unit_source >= 0, means[encoded.unit_source], 0.0) if units else means
    relevance = max((output.relevance for output in outputs), default=0.0)
    return PassageScores(min(max(relevance, 0.0), 1.0), np.clip(scores, 0.0, 1.0))


def logit(probability: float, least: float = 1e-7) -> float:
    """Return the logit of a probability, which is read as in [least, 1 - least], so that it is finite."""
    inside = min(max(probability, least), 1 - least)
    return math.log(inside / (1 - inside))
