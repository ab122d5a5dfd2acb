"""PyTorch: the reference for training and export, and the backend of models that were not exported."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from secateur.models.backends.base import DeviceBackend, Output, opened
from secateur.models.batching import Batch, BatchLimits
from secateur.models.errors import MissingExtraError, ModelError
from secateur.models.families.known import read_family

log = logging.getLogger(__name__)

_forks: list[bool] = []  # whether torch was imported before each fork that led to this process

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forks.append("torch" in sys.modules))


class TorchBackend(DeviceBackend):
    """Runs the fp32 weights of a model directory, or of a published checkpoint (no device: on CUDA if available)."""

    name = "torch"
    precision = "fp32"

    def __init__(self, directory: Path, device: str | None = None) -> None:
        try:
            import torch

            from secateur.models.families.networks import load_family_network
            from secateur.models.network import load_network
        except ImportError as error:
            raise MissingExtraError("torch or transformers", "train") from error
        if device == "cuda" and not torch.cuda.is_available():
            raise ModelError("device 'cuda': torch finds no CUDA device; use device 'cpu' or install torch with CUDA")
        self._torch = torch
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        directory = directory.absolute()  # a child process may have another working directory
        family = read_family(directory)
        load = load_network if family is None else partial(load_family_network, family=family)
        self._load: Callable[[], Any] = partial(load, directory)
        self._pid = os.getpid()
        self._opened = opened(directory, self._open)
        self.limits = BatchLimits(rows=64, tokens=32768) if self.device == "cuda" else BatchLimits(rows=16, tokens=8192)

    def _open(self) -> Any:
        forked = any(_forks) or self._pid != os.getpid()
        if forked and self._torch.get_num_threads() > 1:
            # Torch's other threads (OpenMP) exist only in the parent; the child would wait for them forever.
            log.info("torch uses one thread in this process, because it was forked after torch was imported")
            self._torch.set_num_threads(1)
        return self._load().to(self.device)

    def _run(self, network: Any, batch: Batch) -> Output:
        torch = self._torch
        names = ["input_ids", "attention_mask", "token_type_ids"]
        if getattr(network, "reads_units", False):
            names.append("unit_ids")
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(getattr(batch, name)).to(self.device) for name in names}
            relevance, keep = network(**inputs)
            return Output(relevance.sigmoid().cpu().numpy(), keep.sigmoid().cpu().numpy())

    def _probe(self) -> None:
        if self.device == "cuda":
            self._torch.cuda.synchronize()
