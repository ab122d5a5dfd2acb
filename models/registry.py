"""The registries of backends, devices and precisions, without the import of any runtime.

Choices, error messages, settings and documentation derive from them. A new backend is its name in `BackendName`, its
entry in `RUNTIMES`, an extra in `pyproject.toml`, and a `Backend` in `models/backends/` that is constructed with the
path of an ONNX file, its precision, the device and the number of threads. The tests of backends run for every entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BackendName = Literal["auto", "openvino", "onnx", "torch"]
DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "int8", "fp16"]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model runs, and how: the arguments of `Pruner.load`.

    Attributes:
        model: Model directory, or name of a shipped model; secateur-nano-en if unset.
        backend: Backend of the model.
        device: Device of the model.
        precision: Precision of the ONNX file.
        threads: Number of threads of the CPU backends; one per processor if unset.
        verify: Whether to compare the model's files with their checksums.
    """

    model: str | None = None
    backend: BackendName = "auto"
    device: DeviceName = "auto"
    precision: PrecisionName = "auto"
    threads: int | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Runtime:
    """A backend that can be loaded.

    Attributes:
        description: One line for help and documentation.
        kind: Class of the backend, as `module:class`.
        package: Package that must be installed.
        runs_onnx: Whether it runs an ONNX file; false for one that runs the fp32 weights.
    """

    description: str
    kind: str
    package: str
    devices: tuple[str, ...] = ("cpu", "cuda")
    runs_onnx: bool = True


_PACKAGE = "secateur.models.backends"

RUNTIMES: Mapping[str, Runtime] = {
    "openvino": Runtime("OpenVINO, the fastest on CPUs", f"{_PACKAGE}.openvino:OpenVinoBackend", "openvino", ("cpu",)),
    "onnx": Runtime("ONNX Runtime, for CPUs and CUDA", f"{_PACKAGE}.onnx:OnnxBackend", "onnxruntime"),
    "torch": Runtime(
        "PyTorch, for models that were not exported", f"{_PACKAGE}.torch:TorchBackend", "torch", runs_onnx=False
    ),
}
"""Backends by name. `auto` prefers them in this order on CPUs."""

BACKENDS: Mapping[str, str] = {
    "auto": "the fastest installed backend that can run the model",
    **{name: runtime.description for name, runtime in RUNTIMES.items()},
}
"""Values of `backend`, with a description of each."""

DEVICES: Mapping[str, str] = {"auto": "CUDA if available, else the CPU", "cpu": "the CPU", "cuda": "an NVIDIA GPU"}
"""Values of `device`, with a description of each."""

PRECISIONS: Mapping[str, str] = {
    "auto": "the faster file on this hardware",
    "int8": "8-bit weights and activations",
    "fp16": "16-bit weights, computed in fp32",
}
"""Values of `precision`, the weights of the ONNX file, with a description of each."""


def either(names: Mapping[str, object]) -> str:
    """Return the names of a registry for help and descriptions: ``auto, cpu or cuda``."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
