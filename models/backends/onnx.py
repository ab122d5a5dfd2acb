"""ONNX Runtime: CPUs without OpenVINO, and CUDA on GPUs, with IO binding."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from secateur.models.backends.base import DeviceBackend, Output, available_threads, check_signature, opened
from secateur.models.batching import Batch, BatchLimits
from secateur.models.errors import MissingExtraError, ModelError


def _runtime(device: str) -> Any:
    # Official builds from 1.29 on send usage data to Microsoft unless this is set before the import. They do so in a
    # thread, for which a forked child would wait forever at its end.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "gpu" if device == "cuda" else "cpu") from error
    return onnxruntime


def cuda_available() -> bool:
    """Whether the installed ONNX Runtime can run on CUDA."""
    try:
        runtime = _runtime("cuda")
    except MissingExtraError:
        return False
    return "CUDAExecutionProvider" in runtime.get_available_providers()


class OnnxBackend(DeviceBackend):
    """Runs an ONNX file on ONNX Runtime; ``threads`` are those on the CPU (None: one per processor)."""

    name = "onnx"

    def __init__(self, path: Path, precision: str, device: str = "cpu", threads: int | None = None) -> None:
        self._runtime = _runtime(device)
        if device == "cuda" and not cuda_available():
            raise ModelError("device 'cuda': this ONNX Runtime has no CUDA provider; pip install 'secateur[gpu]'")
        self.device = device
        self.precision = precision
        self._path = path.absolute()  # a child process may have another working directory
        self._threads = threads
        self._opened = opened(path, self._open)
        self.limits = BatchLimits(rows=64, tokens=32768) if device == "cuda" else BatchLimits(rows=8, tokens=4096)

    def _open(self) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads or available_threads()
        # The arena never frees the memory that one long batch took.
        options.enable_cpu_mem_arena = False
        # With TF32 the rounding would depend on the shape of the batch.
        cuda = ("CUDAExecutionProvider", {"use_tf32": "0"})
        providers = [cuda if self.device == "cuda" else "CPUExecutionProvider"]
        session = self._runtime.InferenceSession(str(self._path), options, providers=providers)
        if self.device == "cuda" and session.get_providers()[0] == "CPUExecutionProvider":
            problem = "ONNX Runtime fell back to the CPU"
            raise ModelError(f"device 'cuda': {problem}; check the CUDA libraries and the driver")
        ports = (session.get_inputs(), session.get_outputs())
        check_signature(self._path, *({port.name: port.shape for port in side} for side in ports))
        return session

    def _run(self, session: Any, batch: Batch) -> Output:
        binding = session.io_binding()
        for node in session.get_inputs():
            value = self._runtime.OrtValue.ortvalue_from_numpy(getattr(batch, node.name), self.device, 0)
            binding.bind_ortvalue_input(node.name, value)
        for name in ("relevance", "keep"):
            binding.bind_output(name, self.device, 0)
        session.run_with_iobinding(binding)
        relevance, keep = binding.copy_outputs_to_cpu()
        return Output(relevance.astype(np.float32, copy=False), keep.astype(np.float32, copy=False))

    def _probe(self) -> None:
        self._runtime.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), self.device, 0)
