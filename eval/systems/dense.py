"""Baseline: similarity of the embeddings of query and unit, as in extractive RECOMP (Xu et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.eval.systems.base import SegmentedPassage
from secateur.labelled.embedder import Embedder
from secateur.models.checkpoint import WEIGHTS
from secateur.models.merging import PassageScores


def weights_text(name: str, file: Path) -> str:
    """Return the name of a model and the size of its weights, e.g. ``all-MiniLM-L6-v2, 91 MB``."""
    return f"{name}, {file.stat().st_size / 1e6:.0f} MB" if file.is_file() else name


def _texts(passages: Sequence[SegmentedPassage]) -> list[str]:
    return [text for p in passages for text in (p.titled(p.passage.text), *p.titled_units)]


class Embedding:
    """Cosine similarity of embeddings by a sentence-transformers model; without a directory, all-MiniLM-L6-v2."""

    name = "embedding"
    threshold: float | None = None

    def __init__(self, directory: str | None = None) -> None:
        self._embedder = Embedder(Path(directory) if directory else None)
        self._vectors: dict[str, NDArray[np.float32]] = {}
        name = self._embedder.directory.name if directory else "all-MiniLM-L6-v2"
        self.about = {
            "what": "cosine of sentence embeddings",
            "weights": weights_text(name, self._embedder.directory / WEIGHTS),
            "backend": f"torch {self._embedder.precision}",
        }

    def prepare(self, queries: Sequence[str], passages: Sequence[Sequence[SegmentedPassage]]) -> None:
        """Embed each text of a source once, since queries share passages."""
        self._vectors = {}
        self._embed([*queries, *(text for group in passages for text in _texts(group))])

    def _embed(self, texts: Sequence[str]) -> None:
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            self._vectors.update(zip(missing, self._embedder(missing), strict=True))

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units and whole passages by their cosine with the query."""
        self._embed([query, *_texts(passages)])

        def cosine(text: str) -> float:
            return float(self._vectors[query] @ self._vectors[text])

        return [
            PassageScores(cosine(p.titled(p.passage.text)), np.array([cosine(text) for text in p.titled_units]))
            for p in passages
        ]
