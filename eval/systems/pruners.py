"""Pruners as systems: both heads in one pass, or the rank head alone, sentence by sentence (as in DSLR)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from secateur.eval.systems.base import SegmentedPassage, by_best_unit, weights_text
from secateur.models.checkpoint import ONNX_FILES, WEIGHTS, resolve
from secateur.models.errors import DataError
from secateur.models.merging import PassageScores
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PassageResult


def _about(what: str, pruner: Pruner, model: str | None) -> dict[str, str]:
    """Return what the scores of a pruner depend on, with a digest of the weights that it runs."""
    weights = resolve(model) / ONNX_FILES.get(pruner.backend.precision, WEIGHTS)
    return {
        "what": what,
        "model": pruner.config.name,
        "weights": weights_text(pruner.config.name, weights),
        "backend": f"{pruner.backend.name} {pruner.backend.precision}",
        "digest": hashlib.sha256(weights.read_bytes()).hexdigest()[:12] if weights.is_file() else "unknown",
    }


def _trained_on(pruner: Pruner) -> set[str]:
    """Return the sources that the model, and those it continues, were trained on; none where no record names them."""
    found: set[str] = set()
    record = pruner.config.training
    while record:
        found |= record.get("queries_by_source", {}).keys()
        record = record.get("continued") or {}
    return found


def _results(pruner: Pruner, query: str, passages: Sequence[Passage], *, units: bool) -> tuple[PassageResult, ...]:
    return pruner.prune(
        query,
        passages,
        threshold=0.5,
        reorder=False,
        keep_relevant=False,
        keep_structure=False,
        return_units=units,
        truncate_query=True,
    ).results


class PrunerSystem:
    """The keep probabilities and relevance of a pruner, from one pass over each passage; see `Pruner.load`."""

    def __init__(self, name: str, model: str | None = None, *, backend: str = "auto", precision: str = "auto") -> None:
        self.name = name
        self._pruner = Pruner.load(model, backend=backend, precision=precision)
        self.threshold: float | None = self._pruner.config.threshold
        self.about = _about("both heads, one pass", self._pruner, model)
        self.trained_on = _trained_on(self._pruner)

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units by keep probability and passages by relevance; the model must find the same units."""
        results = _results(self._pruner, query, [p.passage for p in passages], units=True)
        found = []
        for p, result in zip(passages, results, strict=True):
            units = result.units or ()
            if [(u.start, u.end) for u in units] != [(u.start, u.end) for u in p.tiling]:
                raise DataError(
                    f"system {self.name!r} has the segmenter {self._pruner.config.segmenter!r}, which finds other "
                    "units than the segmenter of this run; only systems with the same units can be compared"
                )
            scores = np.array([u.score for u in units], dtype=np.float64)
            found.append(PassageScores(result.score, scores[p.scored]))
        return found


class RankHead:
    """The relevance of every unit alone, by the rank head of a pruner (DSLR, Hwang et al. 2024)."""

    name = "rank-head"
    threshold: float | None = None

    def __init__(self, model: str | None = None) -> None:
        self._pruner = Pruner.load(model)
        self.about = _about("our rank head, sentence by sentence", self._pruner, model)

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score every unit as if it were a passage."""
        units = [Passage(text, title=p.passage.title, format="text") for p in passages for text in p.unit_texts]
        results = _results(self._pruner, query, units, units=False) if units else ()
        return by_best_unit(np.array([result.score for result in results], dtype=np.float64), passages)
