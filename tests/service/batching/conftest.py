"""A pruner whose backend can be told to fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from secateur.models.backends import Backend, Output
from secateur.models.batching import Batch
from secateur.models.pruner import Pruner


@dataclass
class TroubledBackend(Backend):
    """The real backend, with trouble before it.

    Attributes:
        real: what runs.
        trouble: called with the batches of each step; may raise or wait.
        rows: windows run so far.
    """

    real: Backend
    trouble: Callable[[Sequence[Batch]], None] = lambda batches: None
    rows: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.name, self.device = self.real.name, self.real.device
        self.precision, self.limits = self.real.precision, self.real.limits

    def run(self, batch: Batch) -> Output:
        return self.run_all([batch])[0]

    def run_all(self, batches: Sequence[Batch]) -> list[Output]:
        self.trouble(batches)
        outputs = self.real.run_all(batches)
        with self.lock:
            self.rows += sum(len(batch.rows) for batch in batches)
        return outputs


@pytest.fixture
def backend(pruner: Pruner) -> TroubledBackend:
    """The shipped model's backend, without trouble so far."""
    return TroubledBackend(pruner.backend)


@pytest.fixture
def troubled(pruner: Pruner, backend: TroubledBackend) -> Pruner:
    """The shipped model on that backend."""
    return Pruner(pruner.config, pruner.encoder, backend, pruner.calibration, pruner.pad_id, pruner.directory)
