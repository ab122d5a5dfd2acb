"""Systems by name: what `secateur eval --system NAME[:MODEL_DIR]` can say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from secateur.eval.systems.base import System
from secateur.eval.systems.dense import Embedding
from secateur.eval.systems.lexical import Bm25, TfIdf
from secateur.eval.systems.llmlingua import LlmLingua2
from secateur.eval.systems.pruners import CrossEncoderSystem, PrunerSystem
from secateur.eval.systems.simple import Full, Lead, Random
from secateur.models.errors import InputError

BASELINES = ("bm25", "tfidf", "embedding", "cross-encoder", "lead", "random", "full")
"""The systems that need no checkpoint of their own."""


def _pruner(name: str, *, backend: str = "auto", precision: str = "auto") -> Callable[[str | None], System]:
    return lambda model: PrunerSystem(name, model, backend=backend, precision=precision)


def _rule(system: Callable[[], System]) -> Callable[[str | None], System]:
    def load(model: str | None) -> System:
        if model is not None:
            raise InputError("system", f"{system().name!r} takes no model directory, got {model!r}", "leave it out")
        return system()

    return load


def _checkpoint(name: str) -> Callable[[str | None], System]:
    def load(model: str | None) -> System:
        if model is None:
            raise InputError("system", f"{name!r} needs a checkpoint", f"say {name}:DIR with a local directory")
        if name == "llmlingua-2":
            return LlmLingua2(Path(model))
        return PrunerSystem(name, model, backend="torch")

    return load


SYSTEMS: dict[str, Callable[[str | None], System]] = {
    "secateur": _pruner("secateur"),
    "secateur-int8": _pruner("secateur-int8", precision="int8"),
    "secateur-fp16": _pruner("secateur-fp16", precision="fp16"),
    "secateur-torch": _pruner("secateur-torch", backend="torch"),
    "bm25": _rule(Bm25),
    "tfidf": _rule(TfIdf),
    "embedding": lambda model: Embedding(Path(model) if model else None),
    "cross-encoder": lambda model: CrossEncoderSystem(model),
    "lead": _rule(Lead),
    "random": _rule(Random),
    "full": _rule(Full),
    "provence": _checkpoint("provence"),
    "xprovence": _checkpoint("xprovence"),
    "open-provence": _checkpoint("open-provence"),
    "llmlingua-2": _checkpoint("llmlingua-2"),
}
"""Loaders by name; each takes the model directory, or None."""


def load_system(spec: str) -> System:
    """Load a system.

    Args:
        spec: ``NAME`` or ``NAME:MODEL_DIR``.

    Raises:
        InputError: an unknown name, or a directory where none belongs.
        ModelError: the directory cannot be loaded.
        MissingExtraError: a library is not installed.
    """
    name, _, directory = spec.partition(":")
    if name not in SYSTEMS:
        raise InputError("system", f"unknown system {name!r}", f"use one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name](directory or None)
