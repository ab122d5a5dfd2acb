"""What is compared: a system scores every unit of passages for a query, and every passage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from secateur.models.merging import PassageScores
from secateur.models.types import Passage, Unit


@dataclass(frozen=True, slots=True)
class SegmentedPassage:
    """A passage with the units that tile it; all systems score the same units."""

    passage: Passage
    units: tuple[Unit, ...]

    @property
    def unit_texts(self) -> list[str]:
        """The texts of the units without outer white space."""
        return [self.passage.text[unit.start : unit.end].strip() for unit in self.units]

    def titled(self, text: str) -> str:
        """Return a text under the passage's title, for systems that read plain text."""
        return f"{self.passage.title}\n{text}" if self.passage.title else text

    @property
    def titled_units(self) -> list[str]:
        """`unit_texts`, each under the passage's title."""
        return [self.titled(text) for text in self.unit_texts]


def weights_text(name: str, file: Path) -> str:
    """Return the name of a model and the size of its weights, e.g. ``all-MiniLM-L6-v2, 91 MB``."""
    return f"{name}, {file.stat().st_size / 1e6:.0f} MB" if file.is_file() else name


def by_best_unit(scores: NDArray[np.float64], passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
    """Divide scores float64[units] among passages; the relevance of a passage is the score of its best unit."""
    ends = np.cumsum([len(p.units) for p in passages])[:-1]
    return [PassageScores(float(part.max(initial=0.0)), part) for part in np.split(scores, ends)]


class System(Protocol):
    """A way to choose units: one of ours, a baseline or a peer; some have a default threshold.

    What the scores depend on is told in ``about``: ``what`` the system is, its ``weights``, ``backend``, etc.
    """

    name: str
    threshold: float | None
    about: dict[str, str]

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Return for each passage its relevance (NaN for a system that does not rank) and float64[units].

        Only the order of scores within a source counts, except at the default threshold.
        """
        ...


@runtime_checkable
class SharesWork(Protocol):
    """A system that can compute once, in large batches, what the queries of a source have in common."""

    def prepare(self, queries: Sequence[str], passages: Sequence[Sequence[SegmentedPassage]]) -> None:
        """Read queries, with the passages of each, before they are scored; replaces what was prepared before."""
        ...
