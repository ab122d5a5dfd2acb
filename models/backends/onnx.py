"""ONNX Runtime: the fallback on CPUs, and CUDA (or TensorRT) on GPUs, with IO binding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.models.backends.base import Backend, Output, available_threads
from secateur.models.backends.signature import check_signature
from secateur.models.batching import Batch, BatchLimits
from secateur.models.errors import MissingExtraError, ModelError

_EXTRA = {"cpu": "cpu", "cuda": "gpu"}


def _runtime(device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", _EXTRA[device]) from error
    return onnxruntime


def cuda_available() -> bool:
    """Whether the installed ONNX Runtime can run on CUDA."""
    try:
        runtime = _runtime("cuda")
    except MissingExtraError:
        return False
    return "CUDAExecutionProvider" in runtime.get_available_providers()


class OnnxBackend(Backend):
    """Runs an ONNX file on ONNX Runtime.

    Args:
        path: the ONNX file.
        precision: of its weights.
        device: `cpu` or `cuda`.
        threads: of a CPU session; None for one a processor.
        providers: overrides the execution providers, e.g. ``["TensorrtExecutionProvider", "CUDAExecutionProvider"]``.
    """

    name = "onnx"

    def __init__(
        self,
        path: Path,
        precision: str,
        device: str = "cpu",
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        runtime = _runtime(device)
        if device == "cuda" and not cuda_available():
            raise ModelError("device 'cuda': this ONNX Runtime has no CUDA provider; pip install 'secateur[gpu]'")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        # The arena never gives back what one long batch took.
        options.enable_cpu_mem_arena = False
        # TF32 would round the sums of differently shaped batches apart.
        exact_cuda = ("CUDAExecutionProvider", {"use_tf32": "0"})
        chosen: list[Any] = [exact_cuda] if device == "cuda" else ["CPUExecutionProvider"]
        self._session = runtime.InferenceSession(str(path), options, providers=list(providers or chosen))
        if device == "cuda" and self._session.get_providers()[0] == "CPUExecutionProvider":
            raise ModelError(
                "device 'cuda': ONNX Runtime fell back to the CPU; check the CUDA libraries and the driver"
            )
        ports = (self._session.get_inputs(), self._session.get_outputs())
        check_signature(path, *({port.name: port.shape for port in side} for side in ports))
        self._runtime = runtime
        self._inputs = [node.name for node in self._session.get_inputs()]
        self.device = device
        self.precision = precision
        self.limits = BatchLimits(rows=64, tokens=32768) if device == "cuda" else BatchLimits(rows=8, tokens=4096)

    def run(self, batch: Batch) -> Output:
        """Run one batch with inputs and outputs bound on the device."""
        binding = self._session.io_binding()
        for name in self._inputs:
            value = self._runtime.OrtValue.ortvalue_from_numpy(getattr(batch, name), self.device, 0)
            binding.bind_ortvalue_input(name, value)
        for name in ("relevance", "keep"):
            binding.bind_output(name, self.device, 0)
        self._session.run_with_iobinding(binding)
        relevance, keep = binding.copy_outputs_to_cpu()
        return Output(relevance.astype(np.float32, copy=False), keep.astype(np.float32, copy=False))
