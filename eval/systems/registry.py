"""Systems by name: the values of `secateur eval --system NAME[:MODEL_DIR]`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from secateur.eval.systems import baselines
from secateur.eval.systems.base import System
from secateur.eval.systems.pruners import PrunerSystem, RankHead
from secateur.models.errors import InputError

BASELINES = ("bm25", "tfidf", "embedding", "rank-head", "lead", "random", "full")
"""The systems that need no checkpoint of their own."""

RULES: dict[str, Callable[[], System]] = {
    "bm25": baselines.bm25,
    "tfidf": baselines.tfidf,
    "lead": lambda: baselines.LEAD,
    "random": lambda: baselines.RANDOM,
    "full": lambda: baselines.FULL,
}
"""Systems without a model."""
MODELS: dict[str, Callable[[str | None], System]] = {
    "secateur": partial(PrunerSystem, "secateur"),
    "secateur-int8": partial(PrunerSystem, "secateur-int8", precision="int8"),
    "secateur-fp16": partial(PrunerSystem, "secateur-fp16", precision="fp16"),
    "secateur-torch": partial(PrunerSystem, "secateur-torch", backend="torch"),
    "embedding": baselines.Embedding,
    "rank-head": RankHead,
}
"""Systems with a model: the one in a directory, or a shipped one."""
CHECKPOINTS: dict[str, Callable[[str], System]] = {
    name: partial(PrunerSystem, name, backend="torch") for name in ("provence", "xprovence", "open-provence")
}
"""Published checkpoints, from a directory."""


def load_system(spec: str) -> System:
    """Load the system ``NAME`` or ``NAME:MODEL_DIR``.

    Raises:
        InputError: The name is unknown, a directory is missing, or there is one where none belongs.
        ModelError: The directory cannot be loaded.
        MissingExtraError: A library is not installed.
    """
    name, _, directory = spec.partition(":")
    if name in RULES:
        if directory:
            raise InputError("system", f"{name!r} takes no model directory, got {directory!r}", "leave it out")
        return RULES[name]()
    if name in MODELS:
        return MODELS[name](directory or None)
    if name not in CHECKPOINTS:
        known = ", ".join([*MODELS, *RULES, *CHECKPOINTS])
        raise InputError("system", f"unknown system {name!r}", f"use one of {known}")
    if not directory:
        raise InputError("system", f"{name!r} needs a checkpoint", f"give {name}:DIR with a local directory")
    return CHECKPOINTS[name](directory)
