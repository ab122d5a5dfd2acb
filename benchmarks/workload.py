"""Real queries and passages to measure with, and interleaved timing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secateur.labelled.sources import labelled_sources
from secateur.models.errors import DataError
from secateur.models.types import Passage, PruneRequest

_POOL = 3  # pairs to draw from, per passage of a request


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of each round or call of one contestant."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds."""
        return float(np.median(self.seconds))


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """One query with the passages to rank or prune for it."""

    query: str
    passages: tuple[str, ...]

    def first(self, count: int) -> BenchRequest:
        """Return the request with its first passages only."""
        return BenchRequest(self.query, self.passages[:count])


def real_pairs(data: Path, count: int) -> list[tuple[str, str]]:
    """Draw ``count`` (query, text) pairs evenly from all sources, the same ones every time.

    Raises:
        DataError: The data has fewer.
    """
    rng = random.Random(7)
    sources = labelled_sources(data)
    drawn: list[tuple[str, str]] = []
    for source in sources:
        pairs = [(e.query, p.passage.text) for e in source.read() for p in e.passages if p.passage.text.strip()]
        drawn += rng.sample(pairs, min(len(pairs), -(-count // len(sources))))
    if len(drawn) < count:
        raise DataError(f"{data}: the benchmark needs {count} pairs, it has {len(drawn)}")
    rng.shuffle(drawn)
    return drawn[:count]


def mixed_requests(data: Path, passages: int, count: int) -> list[BenchRequest]:
    """Draw requests of real queries with passages of mixed lengths from all sources, the same ones every time.

    Args:
        data: Labelled examples.
        passages: Number of distinct passages of each request.
        count: Number of requests.

    Raises:
        DataError: The data has too few passages.
    """
    rng = random.Random(passages)
    pool = real_pairs(data, passages * _POOL)
    return [
        BenchRequest(rng.choice(pool)[0], tuple(text for _, text in rng.sample(pool, passages))) for _ in range(count)
    ]


def as_requests(pairs: list[tuple[str, str]]) -> list[PruneRequest]:
    """Return each pair as a request of its own."""
    return [PruneRequest(query, (Passage(text),)) for query, text in pairs]


def interleave(contestants: Mapping[str, Callable[[], object]], rounds: int) -> list[Timing]:
    """Time contestants in turn, so that other load on the machine affects all of them; each runs once before."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return [Timing(name, tuple(values)) for name, values in seconds.items()]
