"""Prune and rerank retrieved passages for RAG.

Public names are imported on first use, so that ``import secateur`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.client import AsyncClient, Client, ServiceError, ServiceUnavailableError
    from secateur.context import prune_context
    from secateur.models.errors import InputError, ModelError, SecateurError
    from secateur.models.options import PruneOptions
    from secateur.models.pruner import Pruner
    from secateur.models.types import Passage, PassageResult, PruneRequest, PruneResult, Timings, UnitScore, Usage

__all__ = [
    "AsyncClient",
    "Client",
    "InputError",
    "ModelError",
    "Passage",
    "PassageResult",
    "PruneOptions",
    "PruneRequest",
    "PruneResult",
    "Pruner",
    "SecateurError",
    "ServiceError",
    "ServiceUnavailableError",
    "Timings",
    "UnitScore",
    "Usage",
    "__version__",
    "prune_context",
]

_HOMES = {
    "secateur.client": ("AsyncClient", "Client", "ServiceError", "ServiceUnavailableError"),
    "secateur.context": ("prune_context",),
    "secateur.models.errors": ("InputError", "ModelError", "SecateurError"),
    "secateur.models.pruner": ("Pruner",),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version("secateur")
    if name not in __all__:
        raise AttributeError(f"module 'secateur' has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "secateur.models.types")
    return getattr(import_module(home), name)
