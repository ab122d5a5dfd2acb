"""OpenVINO, the default on CPUs: parallel streams of one thread, each running one window."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from secateur.models.backends.base import Backend, Output, available_threads, check_signature, opened
from secateur.models.batching import Batch, BatchLimits
from secateur.models.errors import MissingExtraError


def open_queue(path: Path, streams: int) -> tuple[Any, Any]:
    """Compile an ONNX file for streams of one thread; return an `openvino.CompiledModel` and its `AsyncInferQueue`."""
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "cpu") from error
    core = openvino.Core()
    settings = {
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": str(streams),
        # On processors with bf16 units the plugin would compute in bf16, where results depend on the batch's shape.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    # The plugin sets a signal stack on the thread that compiles, and frees it with the model. The next signal that
    # Python handles in that thread could then crash the process, so a short-lived thread compiles.
    with ThreadPoolExecutor(1) as once:
        compiled = once.submit(core.compile_model, core.read_model(path), "CPU", settings).result()
    return compiled, openvino.AsyncInferQueue(compiled, streams)


def _shape(partial: Any) -> list[int | None] | None:
    """Return the sizes of an `openvino.PartialShape`; None for a size that is not fixed."""
    if partial.rank.is_dynamic:
        return None
    return [None if size.is_dynamic else size.get_length() for size in partial]


class OpenVinoBackend(Backend):
    """Runs an ONNX file on OpenVINO's CPU plugin, in ``threads`` streams (None: one per processor)."""

    name = "openvino"
    # One window per run keeps a thread busy, and its result cannot depend on other windows: int8 kernels round
    # differently for different batch shapes, by up to 3e-3 in a probability. The runtime keeps memory for every length
    # that it has seen, so windows are padded to few lengths.
    limits = BatchLimits(rows=1, tokens=1 << 20, multiple=32)

    def __init__(self, path: Path, precision: str, device: str = "cpu", threads: int | None = None) -> None:
        self.device = device
        self.precision = precision
        self._path = path.absolute()  # a child process may have another working directory
        self._threads = threads
        self._runtime = opened(path, self._open)

    def _open(self) -> tuple[Any, Any]:
        compiled, queue = open_queue(self._path, self._threads or available_threads())
        ports = (compiled.inputs, compiled.outputs)
        check_signature(self._path, *({port.any_name: _shape(port.partial_shape) for port in side} for side in ports))
        queue.set_callback(self._store)
        return compiled, queue

    @staticmethod
    def _store(request: Any, slot: tuple[list[Output | None], int]) -> None:
        outputs, index = slot
        outputs[index] = Output(
            np.array(request.get_tensor("relevance").data), np.array(request.get_tensor("keep").data)
        )

    def run(self, batch: Batch) -> Output:
        """Run one batch."""
        return self.run_all([batch])[0]

    def run_all(self, batches: Sequence[Batch]) -> list[Output]:
        """Run batches on all streams."""
        outputs: list[Output | None] = [None] * len(batches)
        # A queue repeats its first error in every later run, so it is dropped after an error.
        with self._runtime.exclusive() as (compiled, queue):
            inputs = {port.any_name for port in compiled.inputs}
            try:
                for index, batch in enumerate(batches):
                    feed = {name: getattr(batch, name) for name in inputs}
                    queue.start_async(feed, (outputs, index))
            finally:  # even when interrupted: no callback may outlive the call
                queue.wait_all()
        return [output for output in outputs if output is not None]
