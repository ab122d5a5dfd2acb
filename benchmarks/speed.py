"""Speed of `Pruner` with the shipped model against sentence-transformers' `CrossEncoder` on the same base encoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.contestants.base import CROSS_ENCODER_BATCH, MAX_TOKENS
from benchmarks.tables import BenchTable, ratio_cells
from benchmarks.workload import as_requests, interleave, real_pairs
from secateur.labelled.embedder import default_embedder
from secateur.models.pruner import Pruner

PAIRS = 300
ROUNDS = 3
PEER = f"CrossEncoder (sentence-transformers, torch fp32, batch {CROSS_ENCODER_BATCH})"


def measure_speed(data: Path) -> BenchTable:
    """Time all contestants on the same pairs, in turn. The peer has one fresh relevance logit, and prunes nothing."""
    from sentence_transformers import CrossEncoder

    pairs = real_pairs(data, PAIRS)
    requests = as_requests(pairs)
    model = CrossEncoder(str(default_embedder()), num_labels=1, max_length=MAX_TOKENS)
    predict = partial(model.predict, pairs, batch_size=CROSS_ENCODER_BATCH, show_progress_bar=False)
    contestants: dict[str, Callable[[], object]] = {PEER: predict}
    for backend, precision in (("openvino", "int8"), ("openvino", "fp16"), ("onnx", "int8")):
        pruner = Pruner.load(backend=backend, device="cpu", precision=precision)
        contestants[f"Pruner ({backend}, {pruner.backend.precision})"] = partial(pruner.prune_many, requests)
    peer, *ours = interleave(contestants, ROUNDS)
    rows = [[PEER, f"{PAIRS / peer.median:.1f}", "1", ""]]
    rows += [[timing.name, f"{PAIRS / timing.median:.1f}", *ratio_cells(peer, timing)] for timing in ours]
    note = f"{PAIRS} real pairs; median of {ROUNDS} interleaved rounds."
    return BenchTable(["", "pairs a second", "times as fast", "range"], rows, note)
