"""The cost of segmenting, tokenizing, merging and selecting beside the bare runtime on the same batches."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contestants.ours import bare_openvino, engine_batches, feeds_of
from benchmarks.tables import BenchTable, ratio_cells
from benchmarks.workload import as_requests, interleave, real_pairs
from secateur.models.checkpoint import ONNX_INT8, resolve
from secateur.models.pruner import Pruner

PAIRS = 200
ROUNDS = 5


def measure_overhead(data: Path) -> BenchTable:
    """Compare `Pruner` with bare calls of the runtime."""
    pruner = Pruner.load(backend="openvino", precision="int8")
    requests = as_requests(real_pairs(data, PAIRS))
    batches = engine_batches(pruner, requests)
    feeds = feeds_of(batches)
    run_bare = bare_openvino(resolve(None) / ONNX_INT8)
    whole, bare = interleave(
        {"Pruner": lambda: pruner.prune_many(requests), "bare runtime": lambda: run_bare(feeds)}, ROUNDS
    )
    tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
    return BenchTable(
        ["", "seconds", "ratio", "range"],
        [
            ["Pruner", f"{whole.median:.2f}", *ratio_cells(whole, bare, digits=3)],
            ["bare OpenVINO calls on the same batches", f"{bare.median:.2f}", "1", ""],
        ],
        f"{PAIRS} real pairs, {tokens} tokens; median of {ROUNDS} interleaved rounds.",
    )
