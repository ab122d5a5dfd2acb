"""The interface of a contestant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from benchmarks.workload import BenchRequest

Does = Literal["prunes and ranks", "ranks", "network only"]
Sizes = Literal["published", "tiny"]

MAX_TOKENS = 512
"""Window of every contestant in tokens; those that only rank cut longer pairs there."""
CROSS_ENCODER_BATCH = 32
"""The default batch of sentence-transformers."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Files that contestants are made from.

    Attributes:
        directory: Directory of files that are made once per run.
        sizes: Sizes of the networks with random weights: as published, or tiny for a quick test.
    """

    directory: Path
    sizes: Sizes = "published"


class Loaded(Protocol):
    """A contestant in memory.

    Attributes:
        precision: Precision of its weights.
    """

    precision: str

    def prepare(self, request: BenchRequest) -> Callable[[], object]:
        """Return the work of one request as a function. Its call is timed, the preparation is not."""
        ...


@dataclass(frozen=True, slots=True)
class Contestant:
    """A contestant that can be loaded into any process.

    Attributes:
        name: Name on the command line.
        about: Name in the table.
        does: Result of a call; `network only` gets finished batches, and is the floor of an engine.
        load: Loads it into memory; raises ImportError where its package is not installed.
    """

    name: str
    about: str
    does: Does
    load: Callable[[Workplace], Loaded]
