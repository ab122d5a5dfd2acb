"""The registries of backends, devices and precisions, without the import of any runtime.

Choices, error messages, settings and documentation derive from them. A new backend is its name in `BackendName`, its
entry in `RUNTIMES`, an extra in `pyproject.toml`, and a `Backend` in `models/backends/` that is constructed with the
path of an ONNX file, its precision, the device and the number of threads. The tests of backends run for every entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

BackendName = Literal["auto", "openvino", "onnx", "torch"]
DeviceName = Literal["auto", "cpu", "cuda"]
PrecisionName = Literal["auto", "int8", "fp16"]

BACKENDS: tuple[str, ...] = get_args(BackendName)
"""Values of `backend`; `auto` is the fastest installed one that can run the model."""
DEVICES: tuple[str, ...] = get_args(DeviceName)
"""Values of `device`; `auto` is CUDA if available, else the CPU."""
PRECISIONS: tuple[str, ...] = get_args(PrecisionName)
"""Values of `precision`, the weights of the ONNX file; `auto` is the faster file on this hardware."""


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
        kind: Class of the backend, as `module:class`.
        package: Package that must be installed.
        runs_onnx: Whether it runs an ONNX file; false for one that runs the fp32 weights.
    """

    kind: str
    package: str
    devices: tuple[str, ...] = ("cpu", "cuda")
    runs_onnx: bool = True


_PACKAGE = "secateur.models.backends"

RUNTIMES: Mapping[str, Runtime] = {
    "openvino": Runtime(f"{_PACKAGE}.openvino:OpenVinoBackend", "openvino", ("cpu",)),
    "onnx": Runtime(f"{_PACKAGE}.onnx:OnnxBackend", "onnxruntime"),
    "torch": Runtime(f"{_PACKAGE}.torch:TorchBackend", "torch", runs_onnx=False),
}
"""Backends by name. `auto` prefers them in this order on CPUs."""


def either(names: Sequence[str]) -> str:
    """Return names for help and descriptions: ``auto, cpu or cuda``."""
    *first, last = names
    return f"{', '.join(first)} or {last}"
