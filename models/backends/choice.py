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
from secateur.models.families import read_family
from secateur.models.files import is_model_file
from secateur.models.requests import as_integer
from secateur.models.sums import check_sums

BACKENDS = ("auto", "openvino", "onnx", "torch")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "int8", "fp16")

_FILES = {"int8": ONNX_INT8, "fp16": ONNX_FP16}
# Instructions that add products of 8-bit values in 32 bits (VNNI, AMX; on Arm the dot product).
_INT8_INSTRUCTIONS = {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp"}


def int8_pays(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies 8-bit values in hardware; assumed where the system does not tell.

    Without it OpenVINO runs the int8 file slower than the fp16 one, which it computes in fp32: 0.8 times as fast on an
    AVX2 processor (`secateur bench speed`).
    """
    if not cpuinfo.is_file():
        return True
    flags = {flag for line in cpuinfo.read_text(encoding="utf-8").splitlines() for flag in line.split()}
    return bool(flags & _INT8_INSTRUCTIONS)


def _onnx_file(directory: Path, backend: str, device: str, precision: str) -> tuple[Path, str]:
    """Return the ONNX file to run and its precision: the one asked for, or the faster one of those there are."""
    if precision == "auto":
        fp16_first = device == "cuda" or (backend == "openvino" and not int8_pays())
        order = ["fp16", "int8"] if fp16_first else ["int8", "fp16"]
    else:
        order = [precision]
    for name in order:
        if is_model_file(directory / _FILES[name]):
            return directory / _FILES[name], name
    missing = " nor ".join(_FILES[name] for name in order)
    raise ModelError(f"{directory} has no {missing}; run `secateur export {directory}`")


def _automatic(directory: Path, device: str) -> tuple[str, str]:
    """Return the best backend and device for what the directory holds and what is installed."""
    exported = any(is_model_file(directory / name) for name in (ONNX_INT8, ONNX_FP16))
    if exported and device != "cpu" and cuda_available():
        return "onnx", "cuda"
    if exported and device != "cuda":
        for backend, package in (("openvino", "openvino"), ("onnx", "onnxruntime")):
            if importlib.util.find_spec(package):
                return backend, "cpu"
    if is_model_file(directory / WEIGHTS):
        return "torch", device
    if exported:
        raise MissingExtraError("a runtime", "gpu" if device == "cuda" else "cpu")
    raise ModelError(f"{directory} holds neither ONNX files nor {WEIGHTS}; train or export a model into it")


def _check(backend: str, device: str, precision: str, threads: int | None) -> None:
    if backend not in BACKENDS:
        raise InputError("backend", f"unknown backend {backend!r}", f"use one of {', '.join(BACKENDS)}")
    if device not in DEVICES:
        raise InputError("device", f"unknown device {device!r}", f"use one of {', '.join(DEVICES)}")
    if precision not in PRECISIONS:
        raise InputError("precision", f"unknown precision {precision!r}", f"use one of {', '.join(PRECISIONS)}")
    if backend == "torch" and precision != "auto":
        raise InputError("precision", f"{precision!r} does not go with backend 'torch'", "leave it out")
    if backend == "openvino" and device == "cuda":
        raise InputError("device", "'cuda' does not go with backend 'openvino'", "use backend 'onnx' or 'torch'")
    if threads is not None and ((as_integer(threads) or 0) < 1):
        raise InputError("threads", f"{threads!r} is not a positive integer", "leave it out for one a processor")


def load_backend(
    directory: Path,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    *,
    verify: bool = True,
) -> Backend:
    """Load a model directory into a runtime.

    Args:
        directory: the model directory.
        backend: `auto`, `openvino`, `onnx` or `torch`.
        device: `auto`, `cpu` or `cuda`.
        precision: of the ONNX file: `int8`, `fp16`, or `auto` for the faster one.
        threads: of CPU runtimes; None for one a processor.
        verify: compare the file that is run with its sum; see `secateur.models.sums`.

    Raises:
        InputError: an unknown backend or device, or a pair that does not go together.
        ModelError: the directory lacks what the backend needs, or the file is damaged.
        MissingExtraError: the runtime is not installed.
    """
    _check(backend, device, precision, threads)
    threads = as_integer(threads)
    family = read_family(directory)
    if family is not None and backend not in ("auto", "torch"):
        raise InputError("backend", f"{backend!r} cannot run an {family.name} checkpoint", "use backend 'torch'")
    if backend == "auto":
        # ONNX files beside a published checkpoint have other inputs and outputs than ours.
        backend, device = _automatic(directory, device) if family is None else ("torch", device)
    if backend == "torch":
        if verify:
            check_sums(directory, [WEIGHTS if is_model_file(directory / WEIGHTS) else ONNX_FP16])
        return TorchBackend(directory, None if device == "auto" else device)
    if device == "auto":
        device = "cuda" if backend == "onnx" and cuda_available() else "cpu"
    path, found = _onnx_file(directory, backend, device, precision)
    if verify:
        check_sums(directory, [_FILES[found]])
    try:
        if backend == "openvino":
            return OpenVinoBackend(path, found, threads)
        return OnnxBackend(path, found, device, threads)
    except (ModelError, MissingExtraError):
        raise
    except Exception as error:  # the runtimes raise their own C++ error types
        raise ModelError(f"{path}: {backend} cannot load it ({error})") from error
