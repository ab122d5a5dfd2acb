"""Ours: a `Pruner` as a system, and its relevance head over single units (a cross-encoder, as DSLR has it)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from secateur.eval.systems.base import SegmentedPassage
from secateur.models.checkpoint import ONNX_FP16, ONNX_INT8, WEIGHTS, resolve
from secateur.models.errors import DataError
from secateur.models.merging import PassageScores
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PruneResult

_FILES = {"int8": ONNX_INT8, "fp16": ONNX_FP16, "fp32": WEIGHTS}


def describe(pruner: Pruner, directory: Path) -> dict[str, str]:
    """Return what a pruner's scores depend on: model, backend, and a digest of the weights that it runs."""
    weights = directory / _FILES.get(pruner.backend.precision, WEIGHTS)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12] if weights.is_file() else "unknown"
    return {
        "model": pruner.config.name,
        "backend": f"{pruner.backend.name} {pruner.backend.precision}",
        "weights": digest,
    }


def _run(pruner: Pruner, query: str, passages: Sequence[Passage], *, units: bool) -> PruneResult:
    return pruner.prune(
        query, passages, threshold=0.5, reorder=False, keep_title=False, return_units=units, truncate_query=True
    )


class PrunerSystem:
    """A pruner's keep probabilities and relevance, from one pass over each passage.

    Args:
        name: as reports say it.
        model: model directory or shipped model's name; None for the default one.
        backend: see `Pruner.load`.
        precision: see `Pruner.load`.
    """

    def __init__(
        self,
        name: str,
        model: str | None = None,
        *,
        backend: str = "auto",
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        self.name = name
        self.pruner = Pruner.load(model, backend=backend, precision=precision, device=device)
        self.threshold: float | None = self.pruner.config.threshold
        self.about = describe(self.pruner, resolve(model))

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units by keep probability and passages by relevance.

        Raises:
            DataError: the model's own segmenter finds other units than those that are compared.
        """
        results = _run(self.pruner, query, [p.passage for p in passages], units=True).results
        found = []
        for p, result in zip(passages, results, strict=True):
            units = result.units or ()
            if [(u.start, u.end) for u in units] != [(u.start, u.end) for u in p.units]:
                raise DataError(
                    f"system {self.name!r} segments passages by {self.pruner.config.segmenter!r}, other than the run; "
                    "systems can only be compared on the same units"
                )
            found.append(PassageScores(result.score, np.array([u.score for u in units], dtype=np.float64)))
        return found


class CrossEncoderSystem:
    """The relevance of every unit by itself (DSLR, Hwang et al. 2024), by a pruner's relevance head.

    Each unit is a pass of its own; a passage is as relevant as its best unit.

    Args:
        model: model directory or shipped model's name; None for the default one.
    """

    name = "cross-encoder"
    threshold: float | None = None

    def __init__(self, model: str | None = None) -> None:
        self._pruner = Pruner.load(model)
        self.about = describe(self._pruner, resolve(model))

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score every unit as if it were a passage."""
        units = [Passage(text, title=p.passage.title) for p in passages for text in p.unit_texts]
        scores = np.zeros(0)
        if units:
            results = _run(self._pruner, query, units, units=False).results
            scores = np.array([result.score for result in results], dtype=np.float64)
        ends = np.cumsum([len(p.units) for p in passages])[:-1]
        return [PassageScores(float(part.max(initial=0.0)), part) for part in np.split(scores, ends)]
