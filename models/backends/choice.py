"""Choosing and loading a backend for a model directory."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from secateur.models.backends.base import Backend
from secateur.models.backends.onnx import cuda_available
from secateur.models.checkpoint import ONNX_FILES, ONNX_FP16, WEIGHTS
from secateur.models.errors import InputError, MissingExtraError, ModelError, SecateurError, unknown_name
from secateur.models.families.known import read_family
from secateur.models.files import is_model_file
from secateur.models.registry import BACKENDS, DEVICES, PRECISIONS, RUNTIMES, ModelChoice
from secateur.models.requests import as_integer
from secateur.models.sums import check_sums

# CPU instructions that sum products of 8-bit values in 32 bits (VNNI, AMX; on Arm the dot product).
_INT8_INSTRUCTIONS = {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp"}


def int8_pays(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies 8-bit values in hardware; true if unknown.

    Without it OpenVINO runs int8 slower than the fp16 file, in fp32: 0.8 times as fast on an AVX2 processor (``python
    -m benchmarks speed``).
    """
    if not cpuinfo.is_file():
        return True
    flags = {flag for line in cpuinfo.read_text(encoding="utf-8").splitlines() for flag in line.split()}
    return bool(flags & _INT8_INSTRUCTIONS)


def _choose_precision(directory: Path, backend: str, device: str, precision: str) -> str:
    """Return the requested precision, or the faster one of the files in the directory."""
    order = [precision]
    if precision == "auto":
        order = ["int8", "fp16"]
        if device == "cuda" or (backend == "openvino" and not int8_pays()):
            order.reverse()
    for name in order:
        if is_model_file(directory / ONNX_FILES[name]):
            return name
    missing = " nor ".join(ONNX_FILES[name] for name in order)
    raise ModelError(f"{directory} has no {missing}; run `secateur export {directory}`")


def _choose_backend(directory: Path, device: str) -> tuple[str, str]:
    """Return the fastest installed backend and device for the files in the directory."""
    exported = any(is_model_file(directory / name) for name in ONNX_FILES.values())
    if exported and device != "cpu" and cuda_available():
        return "onnx", "cuda"
    if exported and device != "cuda":
        for name, runtime in RUNTIMES.items():
            if runtime.runs_onnx and "cpu" in runtime.devices and importlib.util.find_spec(runtime.package):
                return name, "cpu"
    if is_model_file(directory / WEIGHTS):
        return "torch", device
    if exported:
        raise MissingExtraError("a backend", "gpu" if device == "cuda" else "cpu")
    raise ModelError(f"{directory} has neither ONNX files nor {WEIGHTS}; train or export a model into it")


def _check(choice: ModelChoice) -> None:
    backend, device = choice.backend, choice.device
    for field, known in (("backend", BACKENDS), ("device", DEVICES), ("precision", PRECISIONS)):
        if getattr(choice, field) not in known:
            raise unknown_name(field, field, getattr(choice, field), known)
    if backend != "auto":
        runtime = RUNTIMES[backend]
        if not runtime.runs_onnx and choice.precision != "auto":
            raise InputError("precision", f"{choice.precision!r} is invalid for backend {backend!r}", "leave it out")
        if device not in ("auto", *runtime.devices):
            others = " or ".join(repr(name) for name, other in RUNTIMES.items() if device in other.devices)
            raise InputError("device", f"{device!r} is invalid for backend {backend!r}", f"use backend {others}")
    if choice.threads is not None and (as_integer(choice.threads) or 0) < 1:
        problem = f"{choice.threads!r} is not a positive integer"
        raise InputError("threads", problem, "leave it out for one per processor")


def load_backend(directory: Path, choice: ModelChoice) -> Backend:
    """Load a model directory into a backend; see `Pruner.load`. The choice's own model is not used.

    Raises:
        InputError: A choice is unknown, or two choices do not go together.
        ModelError: The directory lacks the file that the backend needs, or the file is damaged.
        MissingExtraError: The backend is not installed.
    """
    _check(choice)
    backend, device = str(choice.backend), str(choice.device)
    family = read_family(directory)
    if family is not None and backend not in ("auto", "torch"):
        raise InputError("backend", f"{backend!r} cannot run an {family.name} checkpoint", "use backend 'torch'")
    if backend == "auto":
        # ONNX files of a published checkpoint have other inputs and outputs than ours.
        backend, device = _choose_backend(directory, device) if family is None else ("torch", device)
    runtime = RUNTIMES[backend]
    if runtime.runs_onnx:
        if device == "auto":
            device = "cuda" if "cuda" in runtime.devices and cuda_available() else "cpu"
        precision = _choose_precision(directory, backend, device, choice.precision)
        file = ONNX_FILES[precision]
        arguments: tuple[Any, ...] = (directory / file, precision, device, as_integer(choice.threads))
    else:
        file = WEIGHTS if is_model_file(directory / WEIGHTS) else ONNX_FP16
        arguments = (directory, None if device == "auto" else device)
    if choice.verify:
        check_sums(directory, [file])
    try:
        loaded: Backend = resolve_name(runtime.kind)(*arguments)
    except SecateurError:
        raise
    except Exception as error:  # the runtimes raise C++ error types of their own
        raise ModelError(f"{directory / file}: {backend} cannot load it ({error})") from error
    return loaded
