"""Parts of the reports that data steps print: counts of kept units and of problems, and text made printable."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

KEPT_FROM = 0.5  # share of samples from which a unit is kept
MAX_COUNTED = 5  # kept units; passages with more are counted with these
TENTHS = 10
_SHOWN = 5  # places listed for each problem
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Replace the characters of a text that would control the terminal or cannot be encoded."""
    return _CONTROL.sub("�", text)


@dataclass(slots=True)
class UnitCounts:
    """Counts of labelled passages, of their units and of the kept ones.

    ``kept_units`` counts passages by their number of kept units, of which 5 means 5 or more; ``positions`` counts kept
    units by tenths of the passage, from 0.
    """

    passages: int = 0
    units: int = 0
    kept: int = 0
    kept_units: Counter[int] = field(default_factory=Counter)
    positions: Counter[int] = field(default_factory=Counter)

    def add(self, labels: Sequence[float]) -> None:
        """Count a passage by the shares of samples that kept each of its units."""
        kept = [index for index, share in enumerate(labels) if share >= KEPT_FROM]
        self.passages += 1
        self.units += len(labels)
        self.kept += len(kept)
        self.kept_units[min(len(kept), MAX_COUNTED)] += 1
        self.positions.update(index * TENTHS // len(labels) for index in kept)


@dataclass(slots=True)
class Problems:
    """Counted problems, and the first places of each."""

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, problem: str, place: str) -> None:
        """Count a problem and note its place if it is among the first."""
        self.counts[problem] += 1
        places = self.places.setdefault(problem, [])
        if len(places) < _SHOWN:
            places.append(printable(place).replace("\n", " "))
