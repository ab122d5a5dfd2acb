"""What a contestant is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from benchmarks.workload import BenchRequest

Does = Literal["prunes and ranks", "ranks", "network only"]
Sizes = Literal["published", "tiny"]

MAX_TOKENS = 512
"""Tokens that every contestant reads at once; those that only rank cut longer pairs there."""
CROSS_ENCODER_BATCH = 32
"""The default batch of sentence-transformers."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What contestants are made from.

    Attributes:
        directory: holds files that are made for the run, once.
        sizes: of the networks with random weights: as published, or tiny ones that show only that they run.
    """

    directory: Path
    sizes: Sizes = "published"


class Loaded(Protocol):
    """A contestant in memory.

    Attributes:
        precision: of its weights.
    """

    precision: str

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        """Return the work of one request, which is what is timed; what is done here is not."""
        ...


@dataclass(frozen=True, slots=True)
class Contestant:
    """A contestant that can be loaded into any process.

    Attributes:
        name: what the command line calls it.
        about: what the table calls it.
        does: what comes of a call; `network only` is handed finished batches, and is the floor of an engine.
        load: brings it into memory; raises MissingExtraError where its package is not installed.
    """

    name: str
    about: str
    does: Does
    load: Callable[[Workplace], Loaded]
