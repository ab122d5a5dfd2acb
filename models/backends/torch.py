"""Torch: what training and export compare against, and the way to run a model that was not exported."""

from __future__ import annotations

from pathlib import Path

from secateur.models.backends.base import Backend, Output
from secateur.models.batching import Batch, BatchLimits
from secateur.models.errors import MissingExtraError, ModelError
from secateur.models.families import read_family


class TorchBackend(Backend):
    """Runs the fp32 weights of a model directory, or of a published checkpoint (see `secateur.models.families`).

    Args:
        directory: the model directory.
        device: `cpu`, `cuda`, or None for the best there is.
    """

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
        family = read_family(directory)
        network = load_network(directory) if family is None else load_family_network(directory, family)
        self._network = network.to(self.device)
        self._inputs = ["input_ids", "attention_mask", "token_type_ids"]
        if getattr(network, "reads_units", False):
            self._inputs.append("unit_ids")
        self.limits = BatchLimits(rows=64, tokens=32768) if self.device == "cuda" else BatchLimits(rows=16, tokens=8192)

    def run(self, batch: Batch) -> Output:
        """Run one batch without gradients."""
        torch = self._torch
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(getattr(batch, name)).to(self.device) for name in self._inputs}
            relevance, keep = self._network(**inputs)
            return Output(relevance.sigmoid().cpu().numpy(), keep.sigmoid().cpu().numpy())
