"""What is compared: a system scores every unit of passages for a query, and every passage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from secateur.labelled.readable import is_scored, readable_text
from secateur.models.merging import PassageScores
from secateur.models.types import Passage, Unit
from secateur.models.visible import visible_text

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SegmentedPassage:
    """A passage with its units; all systems score the same units.

    Attributes:
        units: The units that can be kept by their score: all but markup.
        tiling: All units; they tile the text.
    """

    passage: Passage
    units: tuple[Unit, ...]
    tiling: tuple[Unit, ...]

    @classmethod
    def of(cls, passage: Passage, tiling: Sequence[Unit]) -> SegmentedPassage:
        """Return a passage with the units that tile its text."""
        return cls(passage, tuple(unit for unit in tiling if is_scored(passage.text, unit)), tuple(tiling))

    @property
    def scored(self) -> BoolArray:
        """bool[units of the tiling], whether each can be kept by its score."""
        return np.array([is_scored(self.passage.text, unit) for unit in self.tiling], dtype=bool)

    @property
    def unit_texts(self) -> list[str]:
        """What can be read of the units, without outer white space."""
        return [readable_text(self.passage.text, unit) for unit in self.units]

    @property
    def text(self) -> str:
        """What can be read of the whole passage."""
        return visible_text(self.passage.text, self.tiling).text

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
