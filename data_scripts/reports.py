"""Parts of the reports that data steps print: counted problems with their first places, and text made printable."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

_SHOWN = 5  # places listed for each problem
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Replace the characters of a text that would control the terminal or cannot be encoded."""
    return _CONTROL.sub("�", text)


@dataclass(slots=True)
class Problems:
    """Counted problems.

    Attributes:
        counts: Number of occurrences of each problem.
        places: The first places of each problem.
    """

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, problem: str, place: str) -> None:
        """Count a problem and note its place if it is among the first."""
        self.counts[problem] += 1
        places = self.places.setdefault(problem, [])
        if len(places) < _SHOWN:
            places.append(printable(place).replace("\n", " "))
