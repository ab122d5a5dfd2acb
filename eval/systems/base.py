"""What is compared: a system scores every unit of passages for a query, and every passage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from secateur.models.merging import PassageScores
from secateur.models.types import Passage, Unit


@dataclass(frozen=True, slots=True)
class SegmentedPassage:
    """A passage with the units that every system scores, so that systems are compared on the same units.

    Attributes:
        passage: the passage.
        units: tile the passage's text.
    """

    passage: Passage
    units: tuple[Unit, ...]

    @property
    def unit_texts(self) -> list[str]:
        """The units' texts without outer white space."""
        return [self.passage.text[unit.start : unit.end].strip() for unit in self.units]

    def titled(self, text: str) -> str:
        """Return the passage's text, or a part of it, under the passage's title, for systems that read plain texts."""
        return f"{self.passage.title}\n{text}" if self.passage.title else text

    @property
    def titled_units(self) -> list[str]:
        """`unit_texts`, each under the passage's title."""
        return [self.titled(text) for text in self.unit_texts]


@runtime_checkable
class SharesWork(Protocol):
    """A system that can compute what queries of a source have in common once, in large batches."""

    def prepare(self, queries: Sequence[str], passages: Sequence[Sequence[SegmentedPassage]]) -> None:
        """See queries, with the passages of each, before they are scored one by one; replaces what was prepared."""
        ...


class System(Protocol):
    """A way to choose units: one of ours, a baseline or a peer.

    Attributes:
        name: as reports say it.
        threshold: units with at least this score are kept by default; None for a system that has no such bar.
        about: model, backend and other settings that its scores depend on, for the report; empty for rules.
    """

    name: str
    threshold: float | None
    about: dict[str, str]

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score passages for one query.

        Args:
            query: the question.
            passages: its passages.

        Returns:
            For each passage its relevance and float64[units]; only the order of scores within a source counts, except
            at the default threshold.
        """
        ...
