"""Baselines that read neither query nor passage: keep everything, random, leading units."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

from secateur.eval.systems.base import SegmentedPassage
from secateur.models.merging import PassageScores


class Full:
    """Keeps everything; it does not rank."""

    name = "full"
    threshold: float | None = 0.0

    def __init__(self) -> None:
        self.about: dict[str, str] = {}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score every unit 1."""
        return [PassageScores(math.nan, np.ones(len(p.units))) for p in passages]


class Random:
    """Scores at random, the same for the same query and text."""

    name = "random"
    threshold: float | None = None

    def __init__(self) -> None:
        self.about: dict[str, str] = {}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Draw scores evenly from [0, 1)."""
        found = []
        for p in passages:
            seed = zlib.crc32(f"{query}\x00{p.passage.text}".encode("utf-8", "surrogatepass"))
            rng = np.random.default_rng(seed)
            found.append(PassageScores(float(rng.random()), rng.random(len(p.units))))
        return found


class Lead:
    """Keeps leading units: the first k of every passage, as the threshold moves; it does not rank."""

    name = "lead"
    threshold: float | None = None

    def __init__(self) -> None:
        self.about: dict[str, str] = {}

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score the unit at position i (from 0) 1 / (1 + i)."""
        return [PassageScores(math.nan, 1.0 / (1 + np.arange(len(p.units)))) for p in passages]
