"""Our engine, and the bare runtimes on the batches that it makes, which are its floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.workload import BenchRequest
from secateur.models.backends.base import available_threads
from secateur.models.backends.openvino import open_queue
from secateur.models.batching import Batch, make_batches
from secateur.models.checkpoint import ONNX_FILES, resolve
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.types import Passage, PruneRequest

Feeds = Sequence[dict[str, Any]]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def engine_batches(pruner: Pruner, requests: Sequence[PruneRequest]) -> list[Batch]:
    """Return the batches that a pruner runs for requests."""
    windows = [
        window
        for request in requests
        for passage in pruner.encode(check_request(request.query, request.passages, request.options)).passages
        for window in passage.running
    ]
    passage_type = pruner.encoder.template.passage_type
    return make_batches(windows, pruner.backend.limits, pad_id=pruner.pad_id, passage_type=passage_type)


def feeds_of(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """Return batches as inputs of the runtimes."""
    return [{name: getattr(batch, name) for name in _INPUTS} for batch in batches]


def bare_openvino(path: Path) -> Callable[[Feeds], object]:
    """Return a function that runs feeds on the plain OpenVINO API, with the streams of `OpenVinoBackend`."""
    queue = open_queue(path, available_threads())[1]

    def run(feeds: Feeds) -> None:
        for feed in feeds:
            queue.start_async(feed)
        queue.wait_all()

    return run


def bare_onnx(path: Path) -> Callable[[Feeds], object]:
    """Return a function that runs feeds on a plain ONNX Runtime session, with the options of `OnnxBackend`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_threads()
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}

    def run(feeds: Feeds) -> None:
        for feed in feeds:
            session.run(None, {name: value for name, value in feed.items() if name in wanted})

    return run


class Engine:
    """Our `Pruner` on the shipped model.

    Args:
        backend: See `Pruner.load`.
    """

    def __init__(self, backend: str) -> None:
        self._pruner = Pruner.load(backend=backend, device="cpu")
        self.precision = self._pruner.backend.precision

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        """Return a call of `Pruner.prune`."""
        return lambda: self._pruner.prune(request.query, request.passages, truncate_query=True)


class BareRuntime:
    """A runtime alone on the batches of `Engine`; segmenting and tokenizing are not timed.

    Args:
        backend: Backend of the engine.
        open_runtime: Returns a function that runs feeds on an ONNX file.
    """

    def __init__(self, backend: str, open_runtime: Callable[[Path], Callable[[Feeds], object]]) -> None:
        self._pruner = Pruner.load(backend=backend, device="cpu")
        self.precision = self._pruner.backend.precision
        self._run = open_runtime(resolve(None) / ONNX_FILES[self.precision])

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        """Return a run of the request's batches."""
        passages = tuple(Passage(text) for text in request.passages)
        options = PruneOptions(truncate_query=True)
        feeds = feeds_of(engine_batches(self._pruner, [PruneRequest(request.query, passages, options)]))
        return lambda: self._run(feeds)
