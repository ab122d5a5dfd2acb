"""Choosing a backend for a model directory."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from secateur.models.backends.base import Backend
from secateur.models.backends.onnx import OnnxBackend, cuda_available
from secateur.models.backends.openvino import OpenVinoBackend
from secateur.models.backends.torch import TorchBackend
from secateur.models.checkpoint import ONNX_FP16, ONNX_INT8, WEIGHTS
from secateur.models.errors import InputError, MissingExtraError, ModelError

BACKENDS = ("auto", "openvino", "onnx", "torch")
DEVICES = ("auto", "cpu", "cuda")


def _onnx_file(directory: Path, device: str) -> tuple[Path, str]:
    """Return the ONNX file for a device and its precision: int8 for CPUs, fp16 for GPUs, else the other one."""
    files = [(ONNX_INT8, "int8"), (ONNX_FP16, "fp16")]
    if device == "cuda":
        files.reverse()
    for name, precision in files:
        if (directory / name).is_file():
            return directory / name, precision
    raise ModelError(f"{directory} has neither {ONNX_INT8} nor {ONNX_FP16}; run `secateur export {directory}`")


def _automatic(directory: Path, device: str) -> tuple[str, str]:
    """Return the best backend and device for what the directory holds and what is installed."""
    exported = any((directory / name).is_file() for name in (ONNX_INT8, ONNX_FP16))
    if exported and device != "cpu" and cuda_available():
        return "onnx", "cuda"
    if exported and device != "cuda":
        for backend, package in (("openvino", "openvino"), ("onnx", "onnxruntime")):
            if importlib.util.find_spec(package):
                return backend, "cpu"
    if (directory / WEIGHTS).is_file():
        return "torch", device
    if exported:
        raise MissingExtraError("a runtime", "gpu" if device == "cuda" else "cpu")
    raise ModelError(f"{directory} holds neither ONNX files nor {WEIGHTS}; train or export a model into it")


def _check(backend: str, device: str, threads: int | None) -> None:
    if backend not in BACKENDS:
        raise InputError("backend", f"unknown backend {backend!r}", f"use one of {', '.join(BACKENDS)}")
    if device not in DEVICES:
        raise InputError("device", f"unknown device {device!r}", f"use one of {', '.join(DEVICES)}")
    if backend == "openvino" and device == "cuda":
        raise InputError("device", "'cuda' does not go with backend 'openvino'", "use backend 'onnx' or 'torch'")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError("threads", f"{threads!r} is not a positive integer", "leave it out for one a processor")


def load_backend(directory: Path, backend: str = "auto", device: str = "auto", threads: int | None = None) -> Backend:
    """Load a model directory into a runtime.

    Args:
        directory: the model directory.
        backend: `auto`, `openvino`, `onnx` or `torch`.
        device: `auto`, `cpu` or `cuda`.
        threads: of CPU runtimes; None for one a processor.

    Raises:
        InputError: an unknown backend or device, or a pair that does not go together.
        ModelError: the directory lacks what the backend needs.
        MissingExtraError: the runtime is not installed.
    """
    _check(backend, device, threads)
    if backend == "auto":
        backend, device = _automatic(directory, device)
    if backend == "torch":
        return TorchBackend(directory, None if device == "auto" else device)
    if device == "auto":
        device = "cuda" if backend == "onnx" and cuda_available() else "cpu"
    path, precision = _onnx_file(directory, device)
    try:
        if backend == "openvino":
            return OpenVinoBackend(path, precision, threads)
        return OnnxBackend(path, precision, device, threads)
    except (ModelError, MissingExtraError):
        raise
    except Exception as error:  # the runtimes raise their own C++ error types
        raise ModelError(f"{path}: {backend} cannot load it ({error})") from error
