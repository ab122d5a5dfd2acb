"""Runtimes behind one contract: a batch in, relevance and keep probabilities out."""

from secateur.models.backends.base import Backend, Output
from secateur.models.backends.choice import BACKENDS, load_backend

__all__ = ["BACKENDS", "Backend", "Output", "load_backend"]
