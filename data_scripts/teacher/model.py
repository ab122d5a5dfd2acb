"""A teacher from disk: a cross-encoder of sentence-transformers, or a Secateur model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from secateur.data_scripts.records import Candidates
from secateur.data_scripts.teacher.verdicts import MAX_LOGIT, shown_text
from secateur.models.checkpoint import has_heads, read_encoder_config, resolve
from secateur.models.errors import MissingExtraError, ModelError
from secateur.models.merging import logit
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PruneRequest

Teacher = Callable[[Sequence[Candidates]], list[list[float]]]
"""From some queries with their passages to a logit for each passage."""

_LEAST = 1 / (1 + math.exp(MAX_LOGIT))  # relevance whose logit is the lowest


@lru_cache(maxsize=1)
def load_teacher(name_or_path: str | Path, max_tokens: int, batch: int) -> Teacher:
    """Load a cross-encoder or a Secateur model, once in each process: the blocks of a job share it.

    ``max_tokens`` of query and passage are read by a cross-encoder, in batches of pairs; Secateur models read all. A
    directory that is neither, or whose model has no trained head, is a `ModelError`.
    """
    directory = resolve(name_or_path)
    return _pruner(directory) if has_heads(directory) else _cross_encoder(directory, max_tokens, batch)


def _pruner(directory: Path) -> Teacher:
    pruner = Pruner.load(directory)
    options = PruneOptions(reorder=False, truncate_query=True)

    def score(block: Sequence[Candidates]) -> list[list[float]]:
        passages = [[Passage(p.text, title=p.title or None, format=p.format) for p in one.passages] for one in block]
        asked = [PruneRequest(one.query, tuple(p), options) for one, p in zip(block, passages, strict=True) if p]
        results = iter(pruner.prune_many(asked))
        return [[logit(item.score, _LEAST) for item in next(results).results] if p else [] for p in passages]

    return score


def _cross_encoder(directory: Path, max_tokens: int, batch: int) -> Teacher:
    try:
        import torch
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise MissingExtraError("sentence-transformers", "data") from error
    architectures = read_encoder_config(directory).get("architectures") or []
    if not any("SequenceClassification" in str(name) for name in architectures):
        # It would load with a head of random numbers.
        raise ModelError(f"{directory}: has no classification head ({architectures}); give a trained cross-encoder")
    try:
        model: Any = CrossEncoder(str(directory), max_length=max_tokens, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{directory}: is not a cross-encoder ({error})") from error
    if model.config.num_labels not in (1, 2):
        raise ModelError(f"{directory}: gives {model.config.num_labels} scores a pair; give a model with 1 or 2")

    def score(block: Sequence[Candidates]) -> list[list[float]]:
        pairs = [(one.query, shown_text(passage)) for one in block for passage in one.passages]
        if not pairs:
            return [[] for _ in block]
        found = model.predict(pairs, batch_size=batch, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        # Two scores are those of "no" and "yes": their difference is the logit.
        flat = iter((found[:, 1] - found[:, 0] if found.ndim == 2 else found).tolist())
        return [[next(flat) for _ in one.passages] for one in block]

    return score
