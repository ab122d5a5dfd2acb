"""The contract of a backend."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.models.batching import Batch, BatchLimits


@dataclass(frozen=True, slots=True)
class Output:
    """What the network says of a batch.

    Attributes:
        relevance: float32[batch], probability that the passage answers the query.
        keep: float32[batch, tokens], probability that a token is kept.
    """

    relevance: NDArray[np.float32]
    keep: NDArray[np.float32]


class Backend(ABC):
    """Runs batches. Safe to call from several threads.

    Attributes:
        name: the runtime.
        device: what it runs on.
        precision: of the weights, e.g. `int8`.
        limits: the batches it runs best.
    """

    name: str
    device: str
    precision: str
    limits: BatchLimits

    @abstractmethod
    def run(self, batch: Batch) -> Output:
        """Run one batch."""

    def run_all(self, batches: Sequence[Batch]) -> list[Output]:
        """Run batches, in any order and side by side where the runtime can; outputs come in the given order."""
        return [self.run(batch) for batch in batches]


def available_threads() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
