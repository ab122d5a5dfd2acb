"""The contract of a backend, and what the backends share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from secateur.models.batching import Batch, BatchLimits
from secateur.models.errors import BackendUnusableError, ModelError
from secateur.models.processes import PerProcess

T = TypeVar("T")
# A dimension is an integer if it is fixed. None: the file does not declare a shape.
Shapes = Mapping[str, Sequence[object] | None]

_REQUIRED = ("input_ids", "attention_mask")
_INPUT_RANKS = dict.fromkeys((*_REQUIRED, "token_type_ids", "unit_ids"), 2)
_OUTPUT_RANKS = {"relevance": 1, "keep": 2}


@dataclass(frozen=True, slots=True)
class Output:
    """The network's output for a batch: relevance as float32[batch], keep probabilities as float32[batch, tokens]."""

    relevance: NDArray[np.float32]
    keep: NDArray[np.float32]


class Backend(ABC):
    """Runs batches. Safe to call from several threads, and from a forked child, which opens the model itself.

    After an error the next call works, or raises `BackendUnusableError` if only a new process can run the model.

    Attributes:
        name: Name in `registry.RUNTIMES`.
        device: `cpu` or `cuda`.
        precision: Precision of the weights, e.g. `int8`.
        limits: Batches that it runs best.
    """

    name: str
    device: str
    precision: str
    limits: BatchLimits

    @property
    def about(self) -> str:
        """Backend, device and precision, for messages."""
        return f"{self.name} on {self.device} in {self.precision}"

    @abstractmethod
    def run(self, batch: Batch) -> Output:
        """Run one batch."""

    def run_all(self, batches: Sequence[Batch]) -> list[Output]:
        """Run batches in any order, in parallel if the runtime can. Outputs come in the given order."""
        return [self.run(batch) for batch in batches]


class DeviceBackend(Backend):
    """A backend whose device can fail permanently, as CUDA does after an illegal access."""

    _opened: PerProcess[Any]

    def run(self, batch: Batch) -> Output:
        """Run one batch; after an error, check whether the device still works."""
        model = self._opened.get()
        try:
            return self._run(model, batch)
        except Exception:
            try:
                self._probe()
            except Exception as error:
                problem = f"device {self.device!r} has failed ({error}); restart the process"
                raise BackendUnusableError(problem) from error
            raise

    @abstractmethod
    def _run(self, model: Any, batch: Batch) -> Output:
        """Run one batch on the opened model."""

    @abstractmethod
    def _probe(self) -> None:
        """Raise any error if the device does not work."""


def opened(model: Path, open: Callable[[], T]) -> PerProcess[T]:
    """Open a model, and open it again in each forked child and after an error that dropped it.

    Errors of the first call of `open` are raised unchanged.
    """
    loaded = False

    def load() -> T:
        nonlocal loaded
        try:
            runtime = open()
        except Exception as error:
            if not loaded:
                raise
            raise BackendUnusableError(f"{model}: cannot be opened again ({error}); restart the process") from error
        loaded = True
        return runtime

    holder = PerProcess(load)
    holder.get()
    return holder


def available_threads() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_signature(path: Path, inputs: Shapes, outputs: Shapes) -> None:
    """Refuse an ONNX file that `secateur export` did not write, by the shapes of its inputs and outputs by name.

    Raises:
        ModelError: An input or output is missing, unknown, of the wrong rank, or of a fixed size. Additional outputs
            are ignored.
    """
    problems = {
        "missing inputs": set(_REQUIRED) - inputs.keys(),
        "unknown inputs": inputs.keys() - _INPUT_RANKS.keys(),
        "inputs of a fixed size": {name for name, sizes in inputs.items() if int in map(type, sizes or ())},
        "missing outputs": _OUTPUT_RANKS.keys() - outputs.keys(),
    }
    for kind, shapes, ranks in (("inputs", inputs, _INPUT_RANKS), ("outputs", outputs, _OUTPUT_RANKS)):
        problems[f"{kind} of the wrong rank"] = {
            name for name, rank in ranks.items() if (shape := shapes.get(name)) is not None and len(shape) != rank
        }
    found = [f"{problem}: {', '.join(sorted(names))[:200]}" for problem, names in problems.items() if names]
    if found:
        problem = f"does not have the expected inputs and outputs ({'; '.join(found)})"
        raise ModelError(f"{path}: {problem}; run `secateur export`")
