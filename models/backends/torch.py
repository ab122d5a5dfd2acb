"""Torch: what training and export compare against, and the way to run a model that was not exported."""

from __future__ import annotations

from pathlib import Path

from secateur.models.backends.base import Backend, Output
from secateur.models.batching import Batch, BatchLimits
from secateur.models.errors import MissingExtraError, ModelError


class TorchBackend(Backend):
    """Runs a model directory's fp32 weights.

    Args:
        directory: the model directory.
        device: `cpu`, `cuda`, or None for the best there is.
    """

    name = "torch"
    precision = "fp32"

    def __init__(self, directory: Path, device: str | None = None) -> None:
        try:
            import torch

            from secateur.models.network import load_network
        except ImportError as error:
            raise MissingExtraError("torch or transformers", "train") from error
        if device == "cuda" and not torch.cuda.is_available():
            raise ModelError("device 'cuda': torch finds no CUDA device; use device 'cpu' or install torch with CUDA")
        self._torch = torch
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._network = load_network(directory).to(self.device)
        self.limits = BatchLimits(rows=64, tokens=32768) if self.device == "cuda" else BatchLimits(rows=16, tokens=8192)

    def run(self, batch: Batch) -> Output:
        """Run one batch without gradients."""
        torch = self._torch
        with torch.inference_mode():
            inputs = [
                torch.from_numpy(array).to(self.device)
                for array in (batch.input_ids, batch.attention_mask, batch.token_type_ids)
            ]
            relevance, keep = self._network(*inputs)
            return Output(relevance.sigmoid().cpu().numpy(), keep.sigmoid().cpu().numpy())
