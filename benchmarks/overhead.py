"""What `Pruner` costs beside the bare runtime: 200 real pairs against bare calls on the same batches."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contestants.ours import bare_openvino, engine_batches, feeds_of
from benchmarks.report import BenchTable
from benchmarks.workload import as_requests, interleave, paired_ratio, real_pairs
from secateur.models.checkpoint import ONNX_INT8, resolve
from secateur.models.pruner import Pruner

PAIRS = 200
ROUNDS = 5
PRECISION = "int8"


def measure_overhead(data: Path) -> BenchTable:
    """Compare `Pruner` (segmenting, tokenizing, batching, merging, selecting) with the bare runtime.

    Args:
        data: labelled examples to take pairs from.
    """
    pruner = Pruner.load(backend="openvino", precision=PRECISION)
    requests = as_requests(real_pairs(data, PAIRS))
    batches = engine_batches(pruner, requests)
    feeds = feeds_of(batches)
    run_bare = bare_openvino(resolve(None) / ONNX_INT8)
    whole, bare = interleave(
        {"Pruner": lambda: pruner.prune_many(requests), "bare runtime": lambda: run_bare(feeds)}, ROUNDS
    )
    tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
    ratio, low, high = paired_ratio(whole, bare)
    return BenchTable(
        ["", "seconds", "ratio", "range"],
        [
            ["Pruner", f"{whole.median:.2f}", f"{ratio:.3f}", f"{low:.3f} to {high:.3f}"],
            ["bare OpenVINO calls on the same batches", f"{bare.median:.2f}", "1", ""],
        ],
        f"{PAIRS} real pairs, {tokens} tokens; median of {ROUNDS} interleaved rounds.",
    )
