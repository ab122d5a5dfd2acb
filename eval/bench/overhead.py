"""What `Pruner` costs beside the bare runtime: 200 real pairs against bare calls on the same batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from secateur.eval.bench.report import BenchTable
from secateur.eval.bench.workload import as_requests, interleave, paired_ratio, real_pairs
from secateur.models.backends.base import available_threads
from secateur.models.batching import make_batches
from secateur.models.checkpoint import ONNX_INT8, resolve
from secateur.models.errors import MissingExtraError
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request

PAIRS = 200
ROUNDS = 5
PRECISION = "int8"


def _bare(path: Path, feeds: list[dict[str, object]]) -> Callable[[], None]:
    """Return a function that runs the feeds on the plain OpenVINO API, streams as `OpenVinoBackend` has them."""
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "cpu") from error
    streams = available_threads()
    options = {"NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": str(streams), "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    queue = openvino.AsyncInferQueue(core.compile_model(core.read_model(path), "CPU", options), streams)

    def run() -> None:
        for feed in feeds:
            queue.start_async(feed)
        queue.wait_all()

    return run


def measure_overhead(data: Path) -> BenchTable:
    """Compare `Pruner` (segmenting, tokenizing, batching, merging, selecting) with the bare runtime.

    Args:
        data: labelled examples to take pairs from.
    """
    pruner = Pruner.load(backend="openvino", precision=PRECISION)
    requests = as_requests(real_pairs(data, PAIRS))
    windows = [
        window
        for request in requests
        for passage in pruner.encode(check_request(request.query, request.passages, request.options)).passages
        for window in passage.windows
    ]
    passage_type = pruner.encoder.template.passage_type
    batches = make_batches(windows, pruner.backend.limits, pad_id=pruner.pad_id, passage_type=passage_type)
    feeds: list[dict[str, object]] = [
        {name: getattr(batch, name) for name in ("input_ids", "attention_mask", "token_type_ids")} for batch in batches
    ]
    whole, bare = interleave(
        {"Pruner": lambda: pruner.prune_many(requests), "bare runtime": _bare(resolve(None) / ONNX_INT8, feeds)}, ROUNDS
    )
    ratio, low, high = paired_ratio(whole, bare)
    return BenchTable(
        ["", "seconds", "ratio", "range"],
        [
            ["Pruner", f"{whole.median:.2f}", f"{ratio:.3f}", f"{low:.3f} to {high:.3f}"],
            ["bare OpenVINO calls on the same batches", f"{bare.median:.2f}", "1", ""],
        ],
        f"{PAIRS} real pairs, {sum(map(len, windows))} tokens; median of {ROUNDS} interleaved rounds.",
    )
