"""Backends: the runtimes that compute the network, behind one contract."""

from secateur.models.backends.base import Backend, Output
from secateur.models.backends.choice import load_backend

__all__ = ["Backend", "Output", "load_backend"]
