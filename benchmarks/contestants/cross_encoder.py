"""A cross-encoder with our base encoder in sentence-transformers, and its ONNX export in a plain session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants.backbone import backbone_cross_encoder, backbone_onnx
from benchmarks.contestants.base import CROSS_ENCODER_BATCH, MAX_TOKENS, Workplace
from benchmarks.workload import BenchRequest
from secateur.models.backends.base import available_threads


def torch_with_all_threads() -> Any:
    """Return torch, with as many threads as our engine has."""
    import torch

    torch.set_num_threads(available_threads())
    return torch


def pair_tokenizer(directory: Path) -> Any:
    """Return the tokenizer of a model, which cuts pairs at `MAX_TOKENS` and pads a batch to its longest pair."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


class TorchCrossEncoder:
    """`sentence_transformers.CrossEncoder` in torch, with its default batching.

    Args:
        workplace: Directory of the model.
    """

    precision = "fp32"

    def __init__(self, workplace: Workplace) -> None:
        directory = backbone_cross_encoder(workplace.directory)
        torch_with_all_threads()
        from sentence_transformers import CrossEncoder

        self._model = CrossEncoder(str(directory), max_length=MAX_TOKENS, device="cpu")

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        """Return a call of `predict`."""
        pairs = [(request.query, passage) for passage in request.passages]
        return lambda: self._model.predict(pairs, batch_size=CROSS_ENCODER_BATCH, show_progress_bar=False)


class OnnxCrossEncoder:
    """The cross-encoder's ONNX export in an ONNX Runtime session, batched as `CrossEncoder.predict` does.

    sentence-transformers' own ONNX backend goes through optimum-onnx, whose releases up to 0.1.0 need
    transformers < 4.58, while we need transformers 5. This is what it would run, without its overhead in Python.

    Args:
        workplace: Directory of the model.
    """

    precision = "fp32"

    def __init__(self, workplace: Workplace) -> None:
        path = backbone_onnx(workplace.directory)
        self._tokenizer = pair_tokenizer(backbone_cross_encoder(workplace.directory))
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_threads()
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def _scores(self, request: BenchRequest) -> list[float]:
        order = sorted(range(len(request.passages)), key=lambda i: -len(request.passages[i]))
        scores = [0.0] * len(order)
        for start in range(0, len(order), CROSS_ENCODER_BATCH):
            rows = order[start : start + CROSS_ENCODER_BATCH]
            encoded = self._tokenizer.encode_batch([(request.query, request.passages[row]) for row in rows])
            feed = {
                "input_ids": np.array([e.ids for e in encoded], dtype=np.int64),
                "attention_mask": np.array([e.attention_mask for e in encoded], dtype=np.int64),
                "token_type_ids": np.array([e.type_ids for e in encoded], dtype=np.int64),
            }
            logits = self._session.run(["logits"], feed)[0][:, 0]
            for row, score in zip(rows, 1 / (1 + np.exp(-logits)), strict=True):
                scores[row] = float(score)
        return scores

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        """Return the scoring of all pairs."""
        return lambda: self._scores(request)
